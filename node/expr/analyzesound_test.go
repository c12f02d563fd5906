package expr

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/node/pattern"
)

// Expressions put together by chance are held against all documents of a few
// values: nothing that holds for one of them is called always false.
func TestAnalyzeIsSound(t *testing.T) {
	values := []string{`null`, `true`, `false`, `0`, `4`, `4.5`, `7`, `1e400`, `""`, `"4"`, `"04"`, `"7.0"`, `"x"`, `"xy"`, `"true"`, `"NaN"`, `"1e400"`, `"Inf"`, `{}`, `["x"]`}
	var docs []Doc
	for _, a := range append(values, "") {
		for _, b := range []string{"", `4`, `"x"`} {
			var members []string
			if a != "" {
				members = append(members, `"a":`+a)
			}
			if b != "" {
				members = append(members, `"b":`+b)
			}
			d, err := FromJSON([]byte("{" + strings.Join(members, ",") + "}"))
			if err != nil {
				t.Fatal(err)
			}
			docs = append(docs, d)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	text := func() string {
		return pick(`""`, `"4"`, `"04"`, `"x"`, `"xy"`, `"y"`, `"true"`, `"NaN"`, `"1e400"`, `"Inf"`)
	}
	number := func() string { return pick(`0`, `4`, `5`, `7`, `4.5`) }
	double := func() string { return pick(`0.0`, `4.0`, `5.5`, `7.0`) }
	atom := func() string {
		p := pick(`"a"`, `"a"`, `"a"`, `"b"`)
		switch r.IntN(9) {
		case 0:
			return "exists(" + p + ")"
		case 1:
			return fmt.Sprintf("equals(%s, %s)", p, pick(text(), number(), "true", "false"))
		case 2:
			return fmt.Sprintf("oneOf(%s, [%s, %s])", p, pick(text(), number(), "true"), pick(text(), number()))
		case 3:
			return fmt.Sprintf("%s(%s, %s)", pick("lessThan", "greaterThan", "lessOrEqual", "greaterOrEqual"), p, number())
		case 4:
			return fmt.Sprintf("%s(%s, %s)", pick("startsWith", "endsWith", "contains", "equalsIgnoreCase"), p, pick(`"x"`, `"y"`, `"4"`))
		case 5:
			return fmt.Sprintf("safe(%s, %s) %s %s", p, text(), pick("==", "!="), text())
		case 6:
			return fmt.Sprintf("safe(%s, %s) in [%s, %s]", p, text(), text(), text())
		case 7:
			return fmt.Sprintf("safe(%s, %s) %s %s", p, double(), pick("==", "!=", "<", "<=", ">", ">="), double())
		}
		return fmt.Sprintf("regexMatch(%s, %s)", p, pick(`"^x"`, `"4$"`))
	}
	var expression func(depth int) string
	expression = func(depth int) string {
		switch n := r.IntN(5); {
		case depth == 0 || n == 0:
			return atom()
		case n == 1:
			return "!(" + expression(depth-1) + ")"
		default:
			return "(" + expression(depth-1) + pick(" && ", " && ", " || ") + expression(depth-1) + ")"
		}
	}
	false1, true1, parts, guarded := 0, 0, 0, 0
	for range 1500 {
		source := expression(3)
		p, err := Compile(source, nil)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		a, err := Analyze(source, pattern.New(nil))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		kind := ""
		for _, f := range a.Findings {
			switch f.Kind {
			case AlwaysFalse:
				kind, false1 = f.Kind, false1+1
			case AlwaysTrue:
				kind, true1 = f.Kind, true1+1
			case DeadCondition:
				parts++
			}
		}
		needs := !a.MayHoldWithout(func(p string) bool { return p == "a" })
		if needs {
			guarded++
		}
		for _, d := range docs {
			holds, err := p.Eval(d)
			if err != nil {
				t.Fatalf("%s: %v", source, err)
			}
			if holds && kind == AlwaysFalse || !holds && kind == AlwaysTrue || holds && needs && !d.Field("a").Exists() {
				t.Fatalf("%s is %t for a = %v, b = %v, but %s, needs a: %t", source, holds, d.Field("a"), d.Field("b"), kind, needs)
			}
		}
	}
	// By chance, but for these numbers of the generator always the same.
	if false1 < 30 || true1 < 5 || parts < 15 || guarded < 150 {
		t.Errorf("found %d always false, %d always true, %d dead parts, %d that need a: the test tests little", false1, true1, parts, guarded)
	}
}
