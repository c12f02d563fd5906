package pipeline

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
)

// linear is a copy of a set that tries every step.
func linear(s *Set) *Set {
	plain := &Set{byType: s.byType, tenants: s.tenants, options: s.options, pipelines: slices.Clone(s.pipelines)}
	for i := range plain.pipelines {
		plain.pipelines[i].dispatch = nil
	}
	plain.drafts.New = s.drafts.New
	return plain
}

// randomStep is a step in YAML's flow form, mostly under a condition that asks
// for one of a few fields which steps also write.
func randomStep(r *rapid.T) string {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(r, label) }
	field := func() string { return pick("field", "log.a", "log.b", "log.c", "dataType", "log.list", "log.list.0") }
	constant := func() string {
		return pick("constant", `4`, `"4"`, `"04"`, `4.0`, `"x"`, `""`, `"true"`, `true`, `false`, `"NaN"`, `1e999`, `"1e999"`, `-0.0`, `"null"`, `"[1]"`)
	}
	question := func() string {
		switch rapid.IntRange(0, 9).Draw(r, "question") {
		case 0:
			return fmt.Sprintf(`oneOf("%s", [%s, %s])`, field(), constant(), constant())
		case 1:
			return fmt.Sprintf(`exists("%s")`, field())
		case 2:
			return fmt.Sprintf(`!equals("%s", %s)`, field(), constant())
		case 3:
			return `log.a == 4.0` // fails where log.a is missing
		case 4:
			return fmt.Sprintf(`(equals("log.a", %s) || equals("log.a", %s))`, constant(), constant())
		default:
			return fmt.Sprintf(`equals("%s", %s)`, field(), constant())
		}
	}
	where := strings.Join(rapid.SliceOfN(rapid.Custom(func(*rapid.T) string { return question() }), 0, 3).Draw(r, "where"), pick("op", " && ", " && ", " || "))
	quoted := "'" + where + "'"
	value := pick("value", `4`, `"04"`, `x`, `"true"`, `""`, `NaN`, `5`)
	switch pick("kind", "add", "add", "add", "rename", "delete", "cast", "json", "broken", "dynamic", "drop", "csv") {
	case "add":
		return fmt.Sprintf(`add: {function: string, params: {key: log.%s, value: %s}, where: %s}`, pick("key", "a", "b", "c", "d", "a.b"), value, quoted)
	case "rename":
		return fmt.Sprintf(`rename: {from: [%s], to: %s, where: %s}`, field(), pick("to", "log.a", "log.b", "dataType"), quoted)
	case "delete":
		return fmt.Sprintf(`delete: {fields: [%s], where: %s}`, field(), quoted)
	case "cast":
		return fmt.Sprintf(`cast: {fields: [%s], to: "%s", where: %s}`, field(), pick("type", "int", "float", "bool", "string", "[]string"), quoted)
	case "json":
		return fmt.Sprintf(`json: {source: %s, where: %s}`, pick("source", "raw", "log.json", "log.a"), quoted)
	case "broken":
		return fmt.Sprintf(`trim: {function: regex, substring: "[", fields: [log.a], where: %s}`, quoted)
	case "dynamic":
		return fmt.Sprintf(`dynamic: {plugin: p%s, where: %s}`, pick("plugin", "1", "2"), quoted)
	case "drop":
		return `drop: {where: 'equals("log.a", 4) && equals("log.b", "x") && equals("log.c", true)'}`
	default:
		return fmt.Sprintf(`csv: {headers: [log.a, log.b], where: %s}`, quoted)
	}
}

// TestDispatchLikeLinear runs random pipelines with and without dispatch.
func TestDispatchLikeLinear(t *testing.T) {
	dispatched, ran := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		var text strings.Builder
		text.WriteString("pipeline:\n")
		for range rapid.IntRange(1, 2).Draw(r, "pipelines") {
			text.WriteString("  - dataTypes: [t]\n    steps:\n      - json: {source: raw}\n")
			for range rapid.IntRange(1, 80).Draw(r, "steps") {
				text.WriteString("      - " + randomStep(r) + "\n")
			}
		}
		conf, report := config.Parse("test.yaml", []byte(text.String()))
		if err := report.Err(); err != nil {
			r.Fatal(err, text.String())
		}
		set, _ := Compile(conf, Options{})
		if set.pipelines[0].dispatch != nil {
			dispatched++
		}
		plain := linear(set)
		value := rapid.SampledFrom([]string{`4`, `"4"`, `"04"`, `4.5`, `"x"`, `true`, `false`, `"true"`, `null`, `""`, `"NaN"`, `1e999`, `-0`, `[1]`, `["x","4"]`, `{"b":4}`, `{}`})
		for range 4 {
			var members []string
			for _, key := range []string{"a", "b", "c", "list", "json"} {
				if rapid.Bool().Draw(r, "present") {
					members = append(members, fmt.Sprintf("%q:%s", key, value.Draw(r, key)))
				}
			}
			raw := "{" + strings.Join(members, ",") + "}"
			log := &pb.Log{Id: "1", DataType: "t", Raw: raw}
			got, gotErr := set.Run(t.Context(), log, mark)
			want, wantErr := plain.Run(t.Context(), log, mark)
			if !bytes.Equal(got.Event, want.Event) || got.Dropped != want.Dropped || got.Errors != want.Errors || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				r.Fatalf("%s\n%s\ngot  %v %v %s\nwant %v %v %s", text.String(), raw, got, gotErr, got.Event, want, wantErr, want.Event)
			}
			if want.Event != nil {
				ran++
			}
			// From any step on, as after a hand-over.
			draft := &pb.Draft{Log: `{"dataType":"t","log":` + raw + `}`, Step: uint32(rapid.IntRange(0, len(set.pipelines[0].steps)).Draw(r, "step"))}
			got, gotErr = set.Resume(t.Context(), "t", draft, mark)
			want, wantErr = plain.Resume(t.Context(), "t", draft, mark)
			if !bytes.Equal(got.Event, want.Event) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				r.Fatalf("%s\nresume at %d with %s\ngot  %v %v\nwant %v %v", text.String(), draft.Step, draft.Log, got, gotErr, want, wantErr)
			}
		}
	})
	if dispatched == 0 || ran == 0 {
		t.Errorf("%d sets were dispatched and %d events made: this shows nothing", dispatched, ran)
	}
}

// TestDispatchSkips counts the steps of the recordings' filter that are tried,
// which is surer than the time they take.
func TestDispatchSkips(t *testing.T) {
	set, geo, dir := compileShared(t)
	tried, held := 0, 0
	for _, log := range ciscoLogs(t, dir) {
		d := newDraft(set.options.Limits)
		d.fill(log)
		r := run{set: set, d: d, ctx: t.Context(), dyn: geo.Parse}
		for _, i := range set.byType[log.DataType] {
			l := &set.pipelines[i]
			w := d.begin(l.dispatch)
			for j := w.next(0); j < len(l.steps); j = w.next(j + 1) {
				tried++
				st := l.steps[j]
				if !r.holds(st) {
					continue
				}
				held++
				if st.dynamic != nil {
					_, _ = r.call(st, i, j)
				} else if err := st.action.apply(d); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if held == 0 || tried > 3*held {
		t.Errorf("%d steps were tried of which %d ran", tried, held)
	}
	t.Logf("%d steps were tried of which %d ran", tried, held)
}
