package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/integration/shared"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// celProcess is the bundled plugin as a process of its own, over rules that lie
// elsewhere.
type celProcess struct {
	client pb.AnalysisClient
	log    logbuffer.Buffer
}

func startCel(t *testing.T, rules string) *celProcess {
	t.Helper()
	dir := shortdir.New(t)
	rules, err := filepath.Abs(rules)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(rules, filepath.Join(dir, "rules")); err != nil {
		t.Fatal(err)
	}
	p := &celProcess{}
	cmd := exec.Command(epmesh(t), "plugin", "run", "cel")
	cmd.Env = append(plainEnviron(), "WORK_DIR="+dir)
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
	})
	p.client = pb.NewAnalysisClient(enginetest.Dial(t, dir, "cel_analysis.sock"))
	return p
}

// analyze gives the names of the alerts of an event.
func (p *celProcess) analyze(t *testing.T, e *pb.Event) []string {
	t.Helper()
	stream, err := p.client.Analyze(t.Context(), e)
	var names []string
	for err == nil {
		var a *pb.Alert
		if a, err = stream.Recv(); err == nil {
			names = append(names, a.Name)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatalf("%v\n%s", err, p.log.String())
	}
	return names
}

// The three rules of the recordings fire on the recorded cases and on no others,
// in the plugin's own process, over the events that the pipeline makes.
func TestRecordedAlerts(t *testing.T) {
	dir := shared.Dir(t, "conformance", "cisco-asa")
	set, report := config.LoadFiles(filepath.Join(dir, "filter.yaml"), filepath.Join(dir, "patterns.yaml"))
	if report.Err() != nil {
		t.Fatal(report.String())
	}
	lines, problems := pipeline.Compile(set, pipeline.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	geo, err := shared.LoadGeolocation(filepath.Join(dir, "geolocation"))
	if err != nil {
		t.Fatal(err)
	}
	var raw struct{ Cases map[string]string }
	var expected struct {
		Cases map[string]struct{ Alerts []string }
	}
	for name, into := range map[string]any{"raw.json": &raw, "expected.json": &expected} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	p := startCel(t, filepath.Join(dir, "rules"))
	stems := ruleStems(t, filepath.Join(dir, "rules"))
	if len(raw.Cases) != 46 || len(stems) != 3 {
		t.Fatalf("%d cases, %d rules", len(raw.Cases), len(stems))
	}
	var sample *pb.Event
	for _, name := range slices.Sorted(maps.Keys(raw.Cases)) {
		result, err := lines.Run(t.Context(), &pb.Log{
			Id: "cisco-asa-" + name, DataType: "firewall-cisco-asa", DataSource: "fixture-asa",
			Timestamp: "2026-09-23T14:00:00Z", TenantId: "00000000-0000-4000-8000-000000000001", Raw: raw.Cases[name],
		}, geo.Parse)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e := &pb.Event{}
		if err := proto.Unmarshal(result.Event, e); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, alert := range p.analyze(t, e) {
			got = append(got, stems[alert])
		}
		if !slices.Equal(got, expected.Cases[name].Alerts) && len(got)+len(expected.Cases[name].Alerts) > 0 {
			t.Errorf("%s: %v, recorded %v", name, got, expected.Cases[name].Alerts)
		}
		sample = e
	}

	// The recordings hold no history. What the two rules with searches ask for:
	// three earlier events of the source, and ten with one message id.
	for _, tt := range []struct {
		stem, message, id, reason string
		before                    int
	}{
		{"ips_signature_matches", "a malicious pattern was detected", "108003", "", 3},
		{"multiple_failed_vpn_attempts", "authentication failed", "113021", "invalid password", 10},
	} {
		for n := range tt.before + 1 {
			e := proto.Clone(sample).(*pb.Event)
			e.Id, e.Origin = fmt.Sprint(tt.stem, n), &pb.Side{Ip: "203.0.113.99"}
			if tt.id == "113021" {
				e.Origin.Ip = "203.0.113.98"
			}
			e.Log = map[string]*structpb.Value{
				"messageId": structpb.NewStringValue(tt.id), "message": structpb.NewStringValue(tt.message), "reason": structpb.NewStringValue(tt.reason),
			}
			var got []string
			for _, alert := range p.analyze(t, e) {
				got = append(got, stems[alert])
			}
			if want := n == tt.before; slices.Contains(got, tt.stem) != want || len(got) > 1 {
				t.Errorf("%s: event %d: %v", tt.stem, n+1, got)
			}
		}
	}
}

// ruleStems are the names of rule files by the names of their rules.
func ruleStems(t *testing.T, dir string) map[string]string {
	t.Helper()
	rules, report := config.LoadRules(dir)
	if report.Err() != nil {
		t.Fatal(report.String())
	}
	stems := map[string]string{}
	for _, r := range rules {
		stems[r.Proto.Name] = strings.TrimSuffix(filepath.Base(r.Position.File), filepath.Ext(r.Position.File))
	}
	return stems
}

// Every rule that users wrote is loaded by the process, or named in its log with
// file and line; the one with a mistake stops no other.
func TestRealRulesInTheProcess(t *testing.T) {
	dir := shared.Dir(t, "configs", "rules")
	p := startCel(t, dir)
	// One rule without a search, from the middle of the set.
	e := &pb.Event{Id: "1", DataType: "linux", TenantId: "t", Timestamp: "2026-09-23T14:00:00Z"}
	p.analyze(t, e)
	rules, report := config.LoadRules(dir)
	var loaded, left int
	for line := range strings.Lines(p.log.String()) {
		var said struct {
			Message string `json:"@message"`
			Rules   int    `json:"rules"`
			Left    int    `json:"left out"`
			At      string `json:"at"`
			Problem string `json:"problem"`
		}
		if json.Unmarshal([]byte(line), &said) != nil {
			continue
		}
		switch said.Message {
		case "rules loaded":
			loaded, left = said.Rules, said.Left
		case "rule left out":
			if strings.Count(said.At, ":") < 2 || said.Problem == "" {
				t.Errorf("without a place or reason: %s", line)
			}
			t.Logf("%s: %s", said.At, said.Problem)
		}
	}
	if len(rules) < 90 || loaded == 0 || loaded+left < len(rules)+len(report.Errors()) {
		t.Errorf("%d rules loaded and %d left out of %d\n%s", loaded, left, len(rules), p.log.String())
	}
	t.Logf("%d rules loaded, %d left out", loaded, left)
}
