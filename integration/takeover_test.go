package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
)

// Two nodes share an analysis plugin. One is stopped (SIGSTOP), and later has a
// plugin that takes 100 ms an event: the other takes its share over, what the
// first one held included, and nothing is lost or doubled once it goes on.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	var dirs []string
	var nodes []*process
	records := t.TempDir()
	for i, programs := range [][]program{
		{{Kind: plugin.Parsing, Name: "stamper"}, {Kind: plugin.Correlation, Name: "collector"}, {Kind: plugin.Output, Name: "archive", Kit: true}},
		{{Kind: plugin.Analysis, Name: "judge", Frail: true}},
		{{Kind: plugin.Analysis, Name: "judge"}},
	} {
		dir := shortdir.New(t)
		configure(t, dir, mill)
		for _, p := range programs {
			p.Records = filepath.Join(records, fmt.Sprint("n", i))
			p.install(t, dir)
		}
		dirs = append(dirs, dir)
		nodes = append(nodes, startNode(t, dir, "NATS_URL="+server.url(), fmt.Sprint("NODE_NAME=n", i)))
	}
	for _, n := range nodes {
		n.await()
	}
	folder := filepath.Join(records, "n0")
	o := observeURL(t, server.url())
	alerts := newTail(t, "collector.alerts", 3, folder)
	s := startSender(t, dirs[0], 100, goodLog)
	// judged reports whether each log has its alert.
	judged := func(ids []string) bool {
		for _, id := range ids {
			if !alerts.has(id, 1) {
				return false
			}
		}
		return true
	}
	eventually(t, "both nodes analyse", func() bool {
		for _, i := range []int{1, 2} {
			if info, err := os.Stat(filepath.Join(records, fmt.Sprint("n", i), "judge.events")); err != nil || info.Size() == 0 {
				return false
			}
		}
		return true
	})

	must(t, nodes[1].cmd.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	before := s.ackedNow()
	eventually(t, "what was acked before the stop has its alerts", func() bool { return judged(before) })
	t.Logf("stopped: its share of %d logs was taken over within %s, with an ack_wait of 2s", len(before), time.Since(began).Round(time.Millisecond))
	must(t, nodes[1].cmd.Process.Signal(syscall.SIGCONT))

	slow := filepath.Join(records, "n1", "judge.slow")
	must(t, os.WriteFile(slow, nil, 0o600))
	n := len(s.ackedNow())
	eventually(t, "more logs", func() bool { return len(s.ackedNow()) >= n+500 })
	began = time.Now()
	before = s.ackedNow()
	eventually(t, "what came beside a slow plugin has its alerts", func() bool { return judged(before) })
	t.Logf("slow: all of %d logs had their alerts %s after they were acked", len(before)-n, time.Since(began).Round(time.Millisecond))
	must(t, os.Remove(slow))

	s.stop()
	o.rest()
	t.Log(balance(t, s, folder, o))
	for _, n := range nodes {
		n.stop()
	}
}
