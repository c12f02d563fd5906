package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
)

// A plugin that is away fills JetStream up to the input: Acks stop, memory does
// not grow, and when the plugin is back everything goes on by itself.
func TestFullStreams(t *testing.T) {
	t.Parallel()
	long, _, _ := soak(t)
	const room = 1 << 20
	const memory = 200 << 20 // what a node may take
	dir := shortdir.New(t)
	folder, _ := installMill(t, dir)
	judge := filepath.Join(dir, "plugins", "judge.plugin")
	away := filepath.Join(dir, "judge")
	if err := os.Rename(judge, away); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, dir, fmt.Sprint("EPMESH_NATS_MAX_STORE=", room)).await()
	o := observe(t, dir)
	s := startSender(t, dir, 4000, someLog)
	s.setWindow(5000)

	eventually(t, "the streams are full", func() bool {
		return o.stream(bridge.StreamEvent).State.Bytes > room*8/10 && o.stream(bridge.StreamLog).State.Bytes > room*8/10
	})
	// Full is when no Ack comes any more, for as long as this.
	hold := max(3*time.Second, min(long, time.Minute))
	full, most := time.Now(), 0
	_, before := s.counts()
	within(t, hold+patience, "no more Acks", func() bool {
		most = max(most, n.memory())
		if _, now := s.counts(); now != before {
			full, before = time.Now(), now
		}
		return time.Since(full) > hold
	})
	sent, acked := s.counts()
	if waiting := s.waiting(); waiting == 0 || sent == acked {
		t.Errorf("nothing waits for an Ack: sent %d, acked %d", sent, acked)
	}
	t.Logf("full for %s with %d of %d logs acked; the node took at most %d MiB",
		time.Since(full).Round(time.Second), acked, sent, most>>20)
	if err := os.Rename(away, judge); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Acks again", func() bool { _, now := s.counts(); return now > acked })
	s.stop()
	o.rest()
	most = max(most, n.memory())
	if most > memory {
		t.Errorf("the node took %d MiB, more than %d", most>>20, memory>>20)
	}
	t.Log(balance(t, s, folder, o))
	n.stop()
}

// memory is what the node's process holds of memory, in bytes.
func (p *process) memory() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				p.t.Fatal(err)
			}
			return kib << 10
		}
	}
	p.t.Fatal("no VmRSS")
	return 0
}
