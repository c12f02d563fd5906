package expr

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/node/pattern"
	"pgregory.net/rapid"
)

func numbers64(set []uint64) (out []int) {
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			out = append(out, i*64+bits.TrailingZeros64(word))
		}
	}
	return out
}

// drawCondition makes conditions of all functions over few fields and texts, so
// that they often hold.
func drawCondition(r *rapid.T, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(r, "kind") {
		case 0:
			return "(" + drawCondition(r, depth-1) + " && " + drawCondition(r, depth-1) + ")"
		case 1:
			return "(" + drawCondition(r, depth-1) + " || " + drawCondition(r, depth-1) + ")"
		case 2:
			return "!(" + drawCondition(r, depth-1) + ")"
		}
	}
	path := rapid.SampledFrom([]string{"a", "b", "c.d", "list.#", "none"}).Draw(r, "path")
	text := func() string {
		return rapid.SampledFrom([]string{"", "k", "K", "ab", "AB", "abc", "kelvin", "x", "Straße", "4", "04", "true", "ſ"}).Draw(r, "text")
	}
	regex := func() string {
		return rapid.SampledFrom([]string{"ab", "(?i)ab", "(?i)kelvin", "[Aa]b", "a(b|c)", "(ab)+c?", "x*", "^ab", "(?i)straße", "(?i)s", "a.c", "(k|x)(el|y)", "b{2,}", "[", "\ufffd"}).Draw(r, "regex")
	}
	switch f := rapid.SampledFrom([]string{
		"exists", "equals", "number", "bool", "oneOf", "equalsIgnoreCase", "contains", "containsList", "containsAll",
		"startsWith", "endsWith", "regexMatch", "greaterThan", "inCIDR", "safe", "slow", "true", "false",
	}).Draw(r, "function"); f {
	case "exists":
		return fmt.Sprintf("exists(%q)", path)
	case "number":
		return fmt.Sprintf("equals(%q, 4)", path)
	case "bool":
		return fmt.Sprintf("equals(%q, true)", path)
	case "oneOf":
		return fmt.Sprintf("oneOf(%q, [%q, 4, %q])", path, text(), text())
	case "containsList":
		return fmt.Sprintf("contains(%q, [%q, %q])", path, text(), text())
	case "containsAll":
		return fmt.Sprintf("containsAll(%q, [%q, %q])", path, text(), text())
	case "regexMatch":
		return fmt.Sprintf("regexMatch(%q, %q)", path, regex())
	case "greaterThan":
		return fmt.Sprintf("greaterThan(%q, 3)", path)
	case "inCIDR":
		return fmt.Sprintf(`inCIDR(%q, "10.0.0.0/8")`, path)
	case "safe":
		return fmt.Sprintf("safe(%q, %q) == %q", path, text(), text())
	case "slow":
		return fmt.Sprintf("(a == %q)", text())
	case "true", "false":
		return f
	default:
		return fmt.Sprintf("%s(%q, %q)", f, path, text())
	}
}

// Whatever holds is a candidate.
func TestDispatchLeavesOutNothingThatHolds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var programs []*Program
		for range rapid.IntRange(1, 5).Draw(r, "programs") {
			p, err := Compile(drawCondition(r, 3), nil)
			if err != nil {
				r.Fatal(err)
			}
			programs = append(programs, p)
		}
		value := rapid.SampledFrom([]any{nil, true, false, 4, 5.5, "", "4", "04", "ab", "xABc", "\u212aelvin", "kelvin", "STRASSE", "straße", "STRAßE", "abbb", "10.1.2.3", "true", "ſ", "k", []any{"ab"}, map[string]any{"d": "ab"}})
		doc := map[string]any{}
		for _, key := range []string{"a", "b", "c", "list"} {
			if rapid.Bool().Draw(r, key) {
				doc[key] = value.Draw(r, "value")
			}
		}
		text, err := json.Marshal(doc)
		if err != nil {
			r.Fatal(err)
		}
		d, err := FromJSON(text)
		if err != nil {
			r.Fatal(err)
		}
		found := numbers64(NewDispatch(programs).Candidates(d, nil))
		for i, p := range programs {
			if ok, err := p.Eval(d); err == nil && ok && !slices.Contains(found, i) {
				r.Fatalf("%s holds for %s and is no candidate", p, text)
			}
		}
	})
}

func TestDispatchIsNarrow(t *testing.T) {
	sources := []string{
		0: `equals("log.id", "1")`,
		1: `equals("log.id", "2") && exists("origin.ip")`,
		2: `oneOf("log.id", ["3", "4"]) || contains("log.message", "Blacklist")`,
		3: `regexMatch("log.message", "(?i)botnet.*(detected|blocked)") || equals("log.id", "9")`,
		4: `exists("log.other")`,
		5: `!exists("log.other")`,
		6: `equals("log.id", "1") && log.n > 4`, // CEL's, and the first part is sure
		7: `log.n > 4`,
		8: `equals("log.id", "1") && regexMatch("log.message", "x")`,
		9: `false && log.n > 4`,
	}
	var programs []*Program
	for _, s := range sources {
		p, err := Compile(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, p)
	}
	d := NewDispatch(append(programs, nil))
	for text, want := range map[string][]int{
		`{"log":{"id":"1"}}`: {0, 5, 6, 7, 8, 10},
		`{"log":{"id":1,"message":"a BLACKLISTED address"}}`: {0, 2, 5, 6, 7, 8, 10},
		`{"log":{"message":"BOTNET DETECTED"}}`:              {3, 5, 7, 10},
		`{"log":{"message":"Botnet"}}`:                       {5, 7, 10},
		`{}`:                                                 {5, 7, 10},
	} {
		doc, err := FromJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := numbers64(d.Candidates(doc, nil)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if d.Words() != 1 {
		t.Errorf("%d words", d.Words())
	}
}

// FuzzLiterals asks for texts in one pass and one by one.
func FuzzLiterals(f *testing.F) {
	f.Add("a he she his hers", "ushers and History")
	f.Add("aa aaa b", "aaaab")
	f.Add("\xff \u212a", "x\xff\u212a")
	f.Fuzz(func(t *testing.T, list, text string) {
		var l literals
		var texts []string
		for i, s := range strings.Fields(list) {
			s = pattern.Lower(s)
			if l.add(s, int32(i)) {
				texts = append(texts, s)
			}
		}
		l.build()
		set := make([]uint64, len(texts)/64+1)
		l.find(text, set)
		for i, s := range texts {
			if got, want := set[i/64]>>(i%64)&1 == 1, strings.Contains(pattern.Lower(text), s); got != want {
				t.Errorf("%q in %q: %v", s, text, got)
			}
		}
	})
}

// The texts that an expression needs stand in whatever it matches.
func TestLiteralsOfExpressions(t *testing.T) {
	for source, want := range map[string]string{
		"botnet.*(detected|blocked)": "detected blocked", "(?i)a(bc)d": "bc", "x?": "", "(ab)+": "ab", "(a|b*)": "",
		"(?i)ſet": "set", "(?i)(fail(ed|ure))": "fail", "[Ss]ession": "ession", "{{.integer}} from": " from", "(": "",
	} {
		l, ok := pattern.New(nil).Literals(source)
		if got := strings.Join(l.Texts, " "); ok != (want != "") || want != "" && got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

// BenchmarkDispatch is what it costs to find one condition among many.
func BenchmarkDispatch(b *testing.B) {
	var programs []*Program
	for i := range 1000 {
		source := fmt.Sprintf(`equals("log.id", "%d") && exists("origin.ip")`, i)
		if i%2 == 1 {
			source = fmt.Sprintf(`contains("log.user", "user-%d") || regexMatch("log.message", "attack %d (seen|met)")`, i, i)
		}
		p, err := Compile(source, nil)
		if err != nil {
			b.Fatal(err)
		}
		programs = append(programs, p)
	}
	d, doc := NewDispatch(programs), FromEvent(sampleEvent(b))
	set := make([]uint64, 0, d.Words())
	b.ReportAllocs()
	for b.Loop() {
		set = d.Candidates(doc, set)
	}
}
