package cel

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shared"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// baseline holds events against rules as one would without this package: the
// event is marshalled, the conditions were compiled once by plain cel-go, and
// their functions read the text with gjson; regular expressions and networks are
// compiled once too.
type baseline struct {
	byType map[string][]cel.Program
	text   string
	cache  map[string]any
}

func newBaseline(t testing.TB, rules []config.Rule) *baseline {
	t.Helper()
	b := &baseline{byType: map[string][]cel.Program{}, cache: map[string]any{}}
	function := func(name string, holds func(field gjson.Result, args []ref.Val) bool, overloads ...[]*cel.Type) cel.EnvOption {
		var all []cel.FunctionOpt
		for i, arguments := range overloads {
			all = append(all, cel.Overload(fmt.Sprint("baseline_", name, i), append([]*cel.Type{cel.StringType}, arguments...), cel.BoolType,
				cel.FunctionBinding(func(args ...ref.Val) ref.Val {
					return types.Bool(holds(gjson.Get(b.text, string(args[0].(types.String))), args[1:]))
				})))
		}
		return cel.Function(name, all...)
	}
	str, list, number := []*cel.Type{cel.StringType}, []*cel.Type{cel.ListType(cel.DynType)}, []*cel.Type{cel.DynType}
	equal := func(field gjson.Result, v ref.Val) bool {
		switch v := v.(type) {
		case types.String:
			return field.String() == string(v)
		case types.Int:
			return field.Num == float64(v)
		case types.Double:
			return field.Num == float64(v)
		case types.Bool:
			return field.Type == gjson.True == bool(v)
		}
		return false
	}
	anyOf := func(v ref.Val, ok func(string) bool) bool {
		if s, is := v.(types.String); is {
			return ok(string(s))
		}
		for it := v.(traits.Lister).Iterator(); it.HasNext() == types.True; {
			if ok(string(it.Next().(types.String))) {
				return true
			}
		}
		return false
	}
	texts := func(fits func(s, sub string) bool) func(gjson.Result, []ref.Val) bool {
		return func(field gjson.Result, args []ref.Val) bool {
			return field.Type == gjson.String && anyOf(args[0], func(sub string) bool { return fits(field.Str, sub) })
		}
	}
	compare := func(fits func(a, b float64) bool) func(gjson.Result, []ref.Val) bool {
		return func(field gjson.Result, args []ref.Val) bool {
			n, err := strconv.ParseFloat(fmt.Sprint(args[0].Value()), 64)
			return err == nil && field.Exists() && fits(field.Float(), n)
		}
	}
	env, err := cel.NewEnv(
		function("exists", func(field gjson.Result, _ []ref.Val) bool { return field.Exists() }, nil),
		function("equals", func(field gjson.Result, args []ref.Val) bool { return field.Exists() && equal(field, args[0]) }, number),
		function("oneOf", func(field gjson.Result, args []ref.Val) bool {
			for it := args[0].(traits.Lister).Iterator(); it.HasNext() == types.True; {
				if item := it.Next(); field.Exists() && equal(field, item) {
					return true
				}
			}
			return false
		}, list),
		function("contains", texts(strings.Contains), str, list),
		function("startsWith", texts(strings.HasPrefix), str, list),
		function("endsWith", texts(strings.HasSuffix), str, list),
		function("equalsIgnoreCase", texts(strings.EqualFold), str),
		function("containsAll", func(field gjson.Result, args []ref.Val) bool {
			return !anyOf(args[0], func(sub string) bool { return !strings.Contains(field.Str, sub) })
		}, list),
		function("regexMatch", func(field gjson.Result, args []ref.Val) bool {
			source := string(args[0].(types.String))
			re, ok := b.cache[source].(*regexp.Regexp)
			if !ok {
				re, _ = regexp.Compile(source)
				b.cache[source] = re
			}
			return re != nil && field.Type == gjson.String && re.MatchString(field.Str)
		}, str),
		function("inCIDR", func(field gjson.Result, args []ref.Val) bool {
			source := string(args[0].(types.String))
			network, ok := b.cache[source].(netip.Prefix)
			if !ok {
				network, _ = netip.ParsePrefix(source)
				b.cache[source] = network
			}
			a, err := netip.ParseAddr(field.Str)
			return err == nil && network.Contains(a)
		}, str),
		function("lessThan", compare(func(a, b float64) bool { return a < b }), number),
		function("lessOrEqual", compare(func(a, b float64) bool { return a <= b }), number),
		function("greaterThan", compare(func(a, b float64) bool { return a > b }), number),
		function("greaterOrEqual", compare(func(a, b float64) bool { return a >= b }), number),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		ast, issues := env.Compile(r.Proto.Where)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", r.Proto.Name, issues.Err())
		}
		p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
		if err != nil {
			t.Fatal(err)
		}
		for _, dataType := range r.Proto.DataTypes {
			b.byType[dataType] = append(b.byType[dataType], p)
		}
	}
	return b
}

// judge counts the rules whose condition holds; the event is marshalled once, or
// for each rule.
func (b *baseline) judge(t testing.TB, e *pb.Event, once bool) (hold int) {
	for i, p := range b.byType[e.DataType] {
		if i == 0 || !once {
			text, err := protojson.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			b.text = string(text)
		}
		if out, _, err := p.Eval(map[string]any{}); err == nil && out == types.True {
			hold++
		}
	}
	return hold
}

// thousand are 1,000 rules over ten data types in the ways that people write
// rules, and events of which some meet some.
func thousand(t testing.TB, searches bool) ([]config.Rule, []*pb.Event) {
	t.Helper()
	var text strings.Builder
	for n := range 1000 {
		kind, id := n%10, n/10
		where := ""
		switch id % 8 {
		case 0:
			where = fmt.Sprintf(`equals("log.messageId", "%d") && exists("origin.ip")`, 1000+id)
		case 1:
			where = fmt.Sprintf(`oneOf("log.messageId", ["%d", "%d"]) || contains("log.message", "signature %d")`, 3000+id, 4000+id, id)
		case 2:
			where = fmt.Sprintf(`regexMatch("log.message", "(?i)attack-%d (detected|blocked)") && exists("origin.ip")`, id)
		case 3:
			where = fmt.Sprintf(`equals("action", "action-%d") && equals("actionResult", "failed") && exists("target.host")`, id)
		case 4:
			where = fmt.Sprintf(`contains("log.command", ["tool-%d", "-%d.exe"]) && !contains("log.command", "safe")`, id, id)
		case 5:
			where = fmt.Sprintf(`(equals("log.eventCode", %d) || equals("log.eventCode", %d)) && !equals("origin.user", "SYSTEM")`, 4600+id, 5600+id)
		case 6:
			where = fmt.Sprintf(`startsWith("log.path", "/etc/secret-%d") && oneOf("action", ["write", "rename"])`, id)
		case 7:
			where = fmt.Sprintf(`regexMatch("log.message", "user=[a-z]+ reason=%d[.]") || equalsIgnoreCase("log.threat", "Threat.%d")`, id, id)
		}
		fmt.Fprintf(&text, "- name: rule %d\n  dataTypes: [type-%d]\n  impact: {integrity: 2}\n  where: %s\n", n, kind, strconv.Quote(where))
		if searches && id%10 == 3 {
			text.WriteString("  correlation: [{indexPattern: 'v11-log-*', with: [{field: origin.ip, operator: filter_term, value: '{{.origin.ip}}'}], within: 15m, count: 3}]\n")
		}
	}
	rules, report := config.ParseRules("thousand.yml", []byte(text.String()))
	if report.Err() != nil {
		t.Fatal(report.String())
	}
	var events []*pb.Event
	for n := range 500 {
		id := n * 7 % 400 // some meet a rule
		log, err := structpb.NewStruct(map[string]any{
			"messageId": strconv.Itoa(1000 + id), "eventCode": 4600 + n*13%1000, "command": fmt.Sprintf("/usr/bin/tool-%d --quiet", n*3%300),
			"message": fmt.Sprintf("%%ASA-4-%d: Deny tcp src outside:203.0.113.%d/4431 dst inside:198.51.100.7/443 by access-group out, signature %d reason=%d. attack-%d detected", 1000+id, n%250, n*11%500, n*5%300, n%900),
			"path":    fmt.Sprintf("/etc/secret-%d/key", n*17%900), "threat": "none", "policy": "default", "bytes": 512,
		})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, &pb.Event{
			Id: fmt.Sprint("e", n), Timestamp: time.Now().UTC().Format(time.RFC3339Nano), DeviceTime: "2026-09-23T14:00:00Z",
			DataType: fmt.Sprintf("type-%d", n%10), DataSource: "fw-1", TenantId: "00000000-0000-4000-8000-000000000001", TenantName: "Default",
			Raw: log.Fields["message"].GetStringValue(), Protocol: "TCP", Action: fmt.Sprintf("action-%d", n*19%900), ActionResult: "failed",
			Origin: &pb.Side{Ip: fmt.Sprintf("203.0.113.%d", n%250), Port: 4431, User: "alice"},
			Target: &pb.Side{Ip: "198.51.100.7", Port: 443, Host: "web-1"}, Log: log.Fields,
		})
	}
	return rules, events
}

// race holds events against rules by this package and by both baselines, in
// turns, and gives the least time an event that each took.
func race(t testing.TB, rules []config.Rule, events []*pb.Event, rounds int) (ours, each, once time.Duration) {
	t.Helper()
	set, report := compileRules(rules, &config.Set{})
	if report.Err() != nil {
		t.Fatal(report.String())
	}
	// The baseline has no history: searches are left out of both.
	for _, r := range set.all {
		r.searches = nil
	}
	set.searches = nil
	set.finish()
	c := &core{store: history.NewMemory(history.Limits{Events: 1000, Bytes: 1 << 20, Age: time.Hour})}
	use(t, c, set)
	plain := newBaseline(t, rules)
	ours, each, once = time.Hour, time.Hour, time.Hour
	n := time.Duration(len(events))
	for range rounds {
		hold, want := 0, 0
		start := time.Now()
		for range 10 {
			hold = 0
			for _, e := range events {
				hits, _ := judged(t, c, e, start)
				hold += len(hits)
			}
		}
		ours = min(ours, time.Since(start)/10/n)
		start = time.Now()
		for _, e := range events {
			want += plain.judge(t, e, true)
		}
		once = min(once, time.Since(start)/n)
		few := events[:max(len(events)/10, 1)]
		start = time.Now()
		for _, e := range few {
			plain.judge(t, e, false)
		}
		each = min(each, time.Since(start)/time.Duration(len(few)))
		if hold != want {
			t.Fatalf("%d rules hold, by the baseline %d", hold, want)
		}
	}
	return ours, each, once
}

// TestThousandRules holds 1,000 rules to 50 times the speed of marshalling for
// each rule and plain cel-go.
func TestThousandRules(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	rules, events := thousand(t, false)
	ours, each, once := race(t, rules, events[:100], 2)
	t.Logf("1,000 rules, 100 of the event's data type: %v an event; plain cel-go %v (%.0f times), marshalled once an event %v (%.0f times)",
		ours, each, each.Seconds()/ours.Seconds(), once, once.Seconds()/ours.Seconds())
	if each < 50*ours {
		t.Errorf("%v an event is more than a fiftieth of %v", ours, each)
	}
}

// BenchmarkThousandRules is that with more rounds, as ratios.
func BenchmarkThousandRules(b *testing.B) {
	rules, events := thousand(b, false)
	report(b, rules, events)
}

// BenchmarkRealRules is the same with the rules of users, each over events of
// its data type.
func BenchmarkRealRules(b *testing.B) {
	dir := shared.Dir(b, "configs", "rules")
	if _, err := os.Stat(dir); err != nil {
		b.Skip("no rules")
	}
	rules, _ := config.LoadRules(dir)
	set, _ := compileRules(rules, &config.Set{}) // one of them is broken
	rules = nil
	for _, r := range set.all {
		if !strings.Contains(r.proto.Where, "safe(") { // which plain cel-go would need other declarations for
			rules = append(rules, config.Rule{Proto: r.proto})
		}
	}
	_, events := thousand(b, false)
	var dataTypes []string
	for _, r := range rules {
		dataTypes = append(dataTypes, r.Proto.DataTypes...)
	}
	for i, e := range events {
		e.DataType = dataTypes[i%len(dataTypes)]
	}
	report(b, rules, events)
}

func report(b *testing.B, rules []config.Rule, events []*pb.Event) {
	var ours, each, once time.Duration
	for b.Loop() {
		ours, each, once = race(b, rules, events[:200], 2)
	}
	b.ReportMetric(float64(ours.Nanoseconds()), "ours-ns/event")
	b.ReportMetric(each.Seconds()/ours.Seconds(), "x-marshalled-each-rule")
	b.ReportMetric(once.Seconds()/ours.Seconds(), "x-marshalled-once")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkJudge is what one event costs, with and without rules that search,
// and what it allocates.
func BenchmarkJudge(b *testing.B) {
	for _, searches := range []bool{false, true} {
		b.Run(map[bool]string{true: "history", false: "conditions"}[searches], func(b *testing.B) {
			rules, events := thousand(b, searches)
			set, _ := compileRules(rules, &config.Set{})
			c := &core{store: history.NewMemory(history.Limits{Events: 100_000, Bytes: 64 << 20, Age: time.Hour}), alertEvents: 100}
			use(b, c, set)
			now := time.Now()
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				judged(b, c, events[n%len(events)], now)
				n++
			}
		})
	}
}
