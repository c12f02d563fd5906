package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/cel"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
)

const someRules = `
- name: brute force
  dataTypes: [sshd]
  impact: {integrity: 2}
  where: equals("actionResult", "denied") && exists("origin.ip")
  correlation:
    - indexPattern: v11-log-sshd-*
      with: [{field: origin.ip, operator: filter_term, value: '{{.origin.ip}}'}, {field: actionResult, operator: filter_term, value: denied}]
      within: 1h
      count: 3
- {name: root, dataTypes: [sshd], where: 'equals("origin.user", "root")'}
`

func rules(t testing.TB, text string) *cel.Rules {
	t.Helper()
	list, report := config.ParseRules("r.yml", []byte(text))
	compiled, found := cel.CompileRules(list, &config.Set{})
	if all := append(report.Errors(), found...); len(all) > 0 {
		t.Fatal(all.String())
	}
	return compiled
}

// eventLine is the n-th event.
func eventLine(n int) string {
	result := "accepted"
	if n%10 == 0 {
		result = "denied"
	}
	return fmt.Sprintf(`{"id":"e%d","@timestamp":"2026-11-25T%02d:%02d:%02d.5Z","dataType":"sshd","dataSource":"web-1","tenantId":"00000000-0000-4000-8000-000000000001","raw":"password for alice from 203.0.113.%d port 22 ssh2","origin":{"ip":"203.0.113.%d","user":"alice","port":22},"target":{"host":"web-1"},"action":"login","actionResult":"%s","log":{"method":"password"}}`+"\n",
		n, n/3600%24, n/60%60, n%60, n%250, n%250, result)
}

// BenchmarkStream is what an event costs from its line to its alerts.
func BenchmarkStream(b *testing.B) {
	var in bytes.Buffer
	for n := range 20_000 {
		in.WriteString(eventLine(n))
	}
	compiled := rules(b, someRules)
	events := 0
	b.SetBytes(int64(in.Len()))
	b.ReportAllocs()
	for b.Loop() {
		s := Stream{Engine: compiled.Engine(cel.EngineOptions{})}
		summary, err := s.Run(b.Context(), bytes.NewReader(in.Bytes()), io.Discard)
		if err != nil || summary.Bad > 0 {
			b.Fatal(summary, err)
		}
		events += summary.Events
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Lines side by side give what they give one after the other, however they come.
func TestStreamIsInOrder(t *testing.T) {
	var in strings.Builder
	for n := range 3000 {
		in.WriteString(eventLine(n))
		if n%100 == 0 {
			in.WriteString("\n  \nno event\n")
		}
	}
	compiled := rules(t, someRules)
	engine := compiled.Engine(cel.EngineOptions{})
	var want []string
	for line := range strings.Lines(in.String()) {
		e, _, err := Decode([]byte(line))
		if err != nil {
			continue
		}
		for _, a := range engine.Analyze(e) {
			want = append(want, a.Id)
		}
	}
	if len(want) < 100 {
		t.Fatalf("only %d alerts", len(want))
	}
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(in.String()), "halves": iotest.HalfReader(strings.NewReader(in.String())),
		"with its end": iotest.DataErrReader(strings.NewReader(in.String())),
	} {
		var out bytes.Buffer
		var bad []int
		s := Stream{Engine: compiled.Engine(cel.EngineOptions{}), Bad: func(line int, err error) error {
			bad = append(bad, line)
			return nil
		}}
		summary, err := s.Run(t.Context(), r, &out)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			got = append(got, gjson.Get(line, "id").String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d alerts, want %d", name, len(got), len(want))
		}
		if summary.Events != 3000 || summary.Bad != 30 || len(bad) != 30 || bad[0] != 4 || summary.Alerts != len(want) || summary.Rules["brute force"] != len(want) {
			t.Errorf("%s: %+v, bad lines %v", name, summary, bad)
		}
	}
}

func TestLongLineIsPassedOver(t *testing.T) {
	in := eventLine(0) + strings.Repeat("x", 5000) + "\n" + eventLine(1)
	var bad []string
	s := Stream{Engine: rules(t, someRules).Engine(cel.EngineOptions{}), limit: 1000, Bad: func(line int, err error) error {
		bad = append(bad, fmt.Sprint(line, " ", err))
		return nil
	}}
	summary, err := s.Run(t.Context(), strings.NewReader(in), io.Discard)
	if err != nil || summary.Events != 2 || len(bad) != 1 || !strings.HasPrefix(bad[0], "2 not an event: the line is longer than 1000 bytes") {
		t.Errorf("%+v, %v, %q", summary, err, bad)
	}
}

// A line that is no event ends the stream where that is asked for; so do a
// reader that has gone and the context.
func TestStreamEnds(t *testing.T) {
	compiled := rules(t, someRules)
	stop := errors.New("stop")
	s := Stream{Engine: compiled.Engine(cel.EngineOptions{}), Bad: func(int, error) error { return stop }}
	if summary, err := s.Run(t.Context(), strings.NewReader(eventLine(0)+"x\n"+eventLine(1)), io.Discard); !errors.Is(err, stop) || summary.Events != 1 {
		t.Errorf("%+v, %v", summary, err)
	}
	var many strings.Builder
	for n := range 5000 {
		many.WriteString(eventLine(n * 10)) // all denied
	}
	s = Stream{Engine: compiled.Engine(cel.EngineOptions{})}
	if _, err := s.Run(t.Context(), strings.NewReader(many.String()), broken{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("nobody reads: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w := io.Pipe()
	defer w.Close() // and with it the read that waits
	if _, err := s.Run(ctx, r, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := s.Run(t.Context(), iotest.ErrReader(stop), io.Discard); !errors.Is(err, stop) {
		t.Errorf("reading fails: %v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Whatever a line is, it is an event or an error that says so.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(eventLine(1)))
	f.Add([]byte(`{"id":"1","nothing":[1]}`))
	f.Add([]byte("{\"raw\":\"\xff\"}"))
	f.Add([]byte(`{"log":{"a":{"b":[1,null,{"c":1e300}]}},"origin":{"port":"22"}}`))
	compiled := rules(f, someRules)
	f.Fuzz(func(t *testing.T, line []byte) {
		e, _, err := Decode(line)
		if (e == nil) == (err == nil) || err != nil && !strings.HasPrefix(err.Error(), "not an event") {
			t.Fatalf("%v, %v", e, err)
		}
		if err == nil {
			engine := compiled.Engine(cel.EngineOptions{})
			engine.Analyze(e)
			again, _, _ := Decode(line)
			engine.Explain(again, true)
		}
	})
}
