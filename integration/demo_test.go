package integration

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/cel"
	"github.com/epmesh/epmesh/plugins/demo"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/epmesh/epmesh/plugins/incidents"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/proto"
)

// The demo's logs become events through the demo's pipeline, its attacks alerts
// through the demo's rules, and each alert that is not a repetition a message;
// without a node, stage by stage.
func TestDemoTellsItsStory(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	if err := os.CopyFS(filepath.Join(e.Dir, "pipeline"), sub(t, "pipeline")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(e.Dir, "rules"), sub(t, "rules")); err != nil {
		t.Fatal(err)
	}
	loaded, report := config.Load(filepath.Join(e.Dir, "pipeline"))
	if len(report) > 0 {
		t.Fatal(report)
	}
	set, problems := pipeline.Compile(loaded, pipeline.Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	runPlugin(t, demo.New, e.Dir, "demo", `{"rate":300,"firstAttack":"100ms","every":"5s"}`)
	runPlugin(t, cel.New, e.Dir, "cel", ``)
	runPlugin(t, incidents.New, e.Dir, "incidents", `{"state":"memory"}`)
	analysis := pb.NewAnalysisClient(enginetest.Dial(t, e.Dir, "cel_analysis.sock"))
	correlation := pb.NewCorrelationClient(enginetest.Dial(t, e.Dir, "incidents_correlation.sock"))

	want := []string{"Data sent to an intruder", "Firewall port sweep", "SSH brute force", "SSH login after failed attempts", "Web path scanning"}
	names := map[string]int{}
	for n, begin := 0, time.Now(); len(names) < len(want); {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("alerts so far: %v", names)
		}
		e.Wait(t, "more logs", func() bool { return len(e.Received()) > n })
		for _, log := range e.Received()[n:] {
			n++
			for _, alert := range analyze(t, analysis, parse(t, set, log)) {
				names[alert.Name]++
				if !strings.HasPrefix(alert.Adversary.GetIp(), "203.0.113.") {
					t.Errorf("%s: adversary %s", alert.Name, alert.Adversary.GetIp())
				}
				if _, err := correlation.Correlate(t.Context(), alert); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name := range names {
		if !slices.Contains(want, name) {
			t.Errorf("alert %q", name)
		}
	}
	var told []string
	for _, m := range e.Messages() {
		told = append(told, gjson.Get(m.Message, "name").String())
	}
	slices.Sort(told)
	if told = slices.Compact(told); !slices.Equal(told, want) {
		t.Errorf("messages of %v", told)
	}
}

func sub(t *testing.T, folder string) fs.FS {
	t.Helper()
	f, err := fs.Sub(demo.Files(), folder)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// parse makes the event of a log and checks that the pipeline read the line.
func parse(t *testing.T, set *pipeline.Set, log *pb.Log) *pb.Event {
	t.Helper()
	r, err := set.Run(t.Context(), log, nil)
	if err != nil {
		t.Fatal(err)
	}
	event := new(pb.Event)
	if err := proto.Unmarshal(r.Event, event); err != nil {
		t.Fatal(err)
	}
	login := strings.Contains(log.Raw, " password for ")
	switch {
	case len(event.Errors) > 0:
		t.Fatalf("%s: %v", log.Raw, event.Errors)
	case log.DataType == "sshd" && (event.Target.GetHost() == "" || event.Log["message"] == nil):
		t.Fatalf("%s: %v", log.Raw, event)
	case login && (event.Origin.GetIp() == "" || event.Origin.GetUser() == "" || event.Origin.GetPort() == 0 || event.Action != "login" || event.ActionResult == ""):
		t.Fatalf("%s: %v", log.Raw, event)
	case log.DataType == "nginx" && (event.Origin.GetIp() == "" || event.StatusCode == 0 || event.Target.GetPath() == "" || event.Log["userAgent"] == nil || event.ActionResult == ""):
		t.Fatalf("%s: %v", log.Raw, event)
	case log.DataType == "firewall" && (event.Origin.GetIp() == "" || event.Target.GetPort() == 0 || event.Protocol == "" || event.ActionResult == ""):
		t.Fatalf("%s: %v", log.Raw, event)
	}
	return event
}

func analyze(t *testing.T, client pb.AnalysisClient, event *pb.Event) (alerts []*pb.Alert) {
	t.Helper()
	stream, err := client.Analyze(t.Context(), event)
	for err == nil {
		var a *pb.Alert
		if a, err = stream.Recv(); err == nil {
			alerts = append(alerts, a)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return alerts
}

// runPlugin runs a bundled plugin until the test ends.
func runPlugin(t *testing.T, newPlugin func(plugins.Instance) (plugins.Runner, error), dir, name, settings string) {
	t.Helper()
	r, err := newPlugin(plugins.Instance{Name: name, Dir: dir, Host: "here", Logger: hclog.NewNullLogger(), Config: gjson.Parse(settings)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
}
