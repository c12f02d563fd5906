package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/node"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) {
	plugintest.Main()
	goleak.VerifyTestMain(m)
}

// testNode is a node of the test, over a work dir that is short enough for
// sockets.
type testNode struct {
	t    testing.TB
	dir  string
	log  *logbuffer.Buffer
	stop func()
	addr node.Addresses
}

func settings(t testing.TB, dir string, change ...func(*config.Settings)) config.Settings {
	t.Helper()
	s, err := config.LoadSettings(config.Sources{Dir: dir, Override: func(s *config.Settings) {
		s.Node, s.HTTP.Listen, s.NATS.Listen, s.NATS.Sync = "n1", "127.0.0.1:0", "127.0.0.1:0", "1m"
		s.Stages.AckWait, s.Stages.Attempts = 2*time.Second, 3
		s.Plugins.RestartMin = 50 * time.Millisecond
		for _, c := range change {
			c(s)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := config.WriteFile(t.Context(), filepath.Join(dir, "pipeline"), name, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func start(t testing.TB, dir string, change ...func(*config.Settings)) *testNode {
	t.Helper()
	n := &testNode{t: t, dir: dir, log: new(logbuffer.Buffer)}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan node.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- node.Run(ctx, node.Options{
			Settings: settings(t, dir, change...), Version: "test",
			Logger: hclog.New(&hclog.LoggerOptions{Output: n.log, Level: hclog.Debug}),
			Ready:  func(a node.Addresses) { ready <- a },
		})
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("node: %v", err)
		}
		if t.Failed() {
			t.Log(n.log.String())
		}
	})
	t.Cleanup(n.stop)
	select {
	case n.addr = <-ready:
	case err := <-ended:
		t.Fatalf("node: %v\n%s", err, n.log)
	case <-time.After(20 * time.Second):
		t.Fatalf("node not ready\n%s", n.log)
	}
	return n
}

func (n *testNode) sockets() string { return filepath.Join(n.dir, "sockets") }

// bridge connects as commands do.
func (n *testNode) bridge() *bridge.Bridge {
	n.t.Helper()
	a, err := bridge.ReadAccess(node.AccessFile(n.dir))
	if err != nil {
		n.t.Fatal(err)
	}
	b, err := bridge.Open(n.t.Context(), bridge.Options{Name: "test", URL: a.URL, User: a.User, Password: a.Password})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(b.Close)
	return b
}

func (n *testNode) status(b *bridge.Bridge) node.Status {
	n.t.Helper()
	answers, err := b.Ask(n.t.Context(), node.StatusRequest, 300*time.Millisecond)
	if err != nil || len(answers) != 1 {
		n.t.Fatalf("status: %d answers, %v", len(answers), err)
	}
	var s node.Status
	if err := json.Unmarshal(answers[0], &s); err != nil {
		n.t.Fatal(err)
	}
	return s
}

// until asks the node how it is until it is as wanted.
func (n *testNode) until(b *bridge.Bridge, what string, ok func(node.Status) bool) node.Status {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		s := n.status(b)
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			text, _ := json.MarshalIndent(s, "", "  ")
			n.t.Fatalf("%s: never; it is\n%s\n%s", what, text, n.log)
		}
	}
}

// send sends logs through the engine socket and returns once all are acked.
func (n *testNode) send(logs ...*pb.Log) {
	n.t.Helper()
	in, err := plugins.NewInput(plugins.SenderOptions{Name: "test", Dir: n.dir, Logger: hclog.NewNullLogger()})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), 20*time.Second)
	defer cancel()
	for _, l := range logs {
		if err := in.Send(ctx, l); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := in.Close(ctx); err != nil {
		n.t.Fatal(err)
	}
}

func someLogs(dataType string, from, to int) []*pb.Log {
	var list []*pb.Log
	for i := from; i < to; i++ {
		list = append(list, &pb.Log{
			Id: fmt.Sprintf("log-%d", i), DataType: dataType, DataSource: "src", TenantId: "t1", Timestamp: "2026-11-23T00:00:00Z",
			Raw: fmt.Sprintf(`{"n": %d, "ip": "192.0.2.%d"}`, i, i%250),
		})
	}
	return list
}

// wait waits until a plugin of the test has been given what is wanted.
func wait(t *testing.T, s *plugintest.Server, what string, ok func([]proto.Message) bool) []proto.Message {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		items := s.Items()
		if ok(items) {
			return items
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: never; the plugin has had %d items", what, len(items))
		}
	}
}

func count(n int) func([]proto.Message) bool {
	return func(items []proto.Message) bool { return len(items) >= n }
}
