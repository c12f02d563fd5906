package expr

import (
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/epmesh/epmesh/proto"
)

// baseline evaluates over an event as one would without this package: the event
// is marshalled, the expression was compiled once, and its functions read the
// text with gjson.
type baseline struct {
	program cel.Program
	text    string
}

func newBaseline(t testing.TB, source string) *baseline {
	t.Helper()
	b := &baseline{}
	over := func(name string, arguments []*cel.Type, holds func(field gjson.Result, args []ref.Val) bool) cel.EnvOption {
		return cel.Function(name, cel.Overload("baseline_"+name, append([]*cel.Type{cel.StringType}, arguments...), cel.BoolType,
			cel.FunctionBinding(func(args ...ref.Val) ref.Val {
				return types.Bool(holds(gjson.Get(b.text, string(args[0].(types.String))), args[1:]))
			})))
	}
	text := []*cel.Type{cel.StringType}
	env, err := cel.NewEnv(
		over("exists", nil, func(field gjson.Result, _ []ref.Val) bool { return field.Exists() }),
		over("equals", []*cel.Type{cel.DynType}, func(field gjson.Result, args []ref.Val) bool {
			if want, ok := args[0].(types.Int); ok {
				return field.Num == float64(want)
			}
			return field.Str == args[0].Value()
		}),
		over("contains", text, func(field gjson.Result, args []ref.Val) bool {
			return strings.Contains(field.Str, string(args[0].(types.String)))
		}),
		over("oneOf", []*cel.Type{cel.ListType(cel.StringType)}, func(field gjson.Result, args []ref.Val) bool {
			return args[0].(traits.Lister).Contains(types.String(field.Str)) == types.True
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	if b.program, err = env.Program(ast, cel.EvalOptions(cel.OptOptimize)); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *baseline) eval(t testing.TB, event *pb.Event) bool {
	text, err := protojson.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	b.text = string(text)
	out, _, err := b.program.Eval(map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	return out == types.True
}

// overEvents are conditions as rules have them; whether they hold for the
// sample event.
var overEvents = []struct {
	name, source string
	want         bool
}{
	{"equals", `equals("log.user", "bob")`, false},
	{"origin", `equals("origin.ip", "198.51.100.7")`, true},
	{"and", `exists("origin.ip") && equals("protocol", "TCP") && contains("log.user", "lic")`, true},
	{"oneOf", `oneOf("log.user", ["root", "admin", "alice"]) && !exists("log.none")`, true},
	{"number", `equals("statusCode", 404) || equals("origin.port", 51234)`, true},
}

// timeBoth evaluates a condition over an event by this package and by the baseline,
// in turns, and gives the least time that each took: what else the machine does
// does not count.
func timeBoth(t testing.TB, source string, want bool, rounds int) (ours, theirs time.Duration) {
	t.Helper()
	event := sampleEvent(t)
	p, err := Compile(source, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := newBaseline(t, source)
	const times = 16 // of ours in a round: the clock takes some too
	ours, theirs = time.Hour, time.Hour
	for range rounds {
		start := time.Now()
		for range times {
			if got, err := p.Eval(FromEvent(event)); err != nil || got != want {
				t.Fatalf("%s: %v, %v", source, got, err)
			}
		}
		ours = min(ours, time.Since(start)/times)
		start = time.Now()
		if got := plain.eval(t, event); got != want {
			t.Fatalf("%s by the baseline: %v", source, got)
		}
		theirs = min(theirs, time.Since(start))
	}
	return ours, theirs
}

// TestOverEventIsCheap holds a condition over an event to a tenth of what it
// costs to marshal the event for plain CEL.
func TestOverEventIsCheap(t *testing.T) {
	for _, tt := range overEvents {
		if ours, theirs := timeBoth(t, tt.source, tt.want, 200); ours > theirs/10 {
			t.Errorf("%s: %v, marshalled for plain CEL %v", tt.source, ours, theirs)
		}
	}
}

// BenchmarkOverEvent sets a condition over an event against marshalling the
// event and plain CEL.
func BenchmarkOverEvent(b *testing.B) {
	for _, bench := range overEvents {
		b.Run(bench.name, func(b *testing.B) {
			var ours, theirs time.Duration
			for b.Loop() {
				ours, theirs = timeBoth(b, bench.source, bench.want, 2000)
			}
			b.ReportMetric(float64(ours.Nanoseconds()), "ours-ns")
			b.ReportMetric(float64(theirs.Nanoseconds()), "baseline-ns")
			b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ours/baseline")
			b.ReportMetric(0, "ns/op")
		})
	}
}
