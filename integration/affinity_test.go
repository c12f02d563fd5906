package integration

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// counter is an analysis plugin that counts by key: it writes down which event
// of which key it was given, when it began and when it ended.
type counter struct {
	pb.UnimplementedAnalysisServer
	p program
}

func (c counter) Analyze(e *pb.Event, _ grpc.ServerStreamingServer[pb.Alert]) error {
	begin := monotonicNow()
	var sum int
	for i := range e.GetId() { // the counting
		sum += i
	}
	_ = sum
	return c.p.note(os.Getenv("NODE_NAME"), e.GetOrigin().GetIp(), e.GetId(), fmt.Sprint(begin), fmt.Sprint(monotonicNow()))
}

// monotonicNow is a clock that all processes of the machine share.
func monotonicNow() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// counted is one line of the counters' records.
type counted struct {
	node       string
	n          int // of the key's events
	begin, end int64
}

// countLedger is what all counters have written, read as it grows.
type countLedger struct {
	t        *testing.T
	folder   string
	read     map[string]int64 // of each file
	byKey    map[string][]counted
	distinct map[string]map[int]bool // numbers of each key
	n        int                     // of them
}

func newCountLedger(t *testing.T) *countLedger {
	return &countLedger{t: t, folder: t.TempDir(), read: map[string]int64{}, byKey: map[string][]counted{}, distinct: map[string]map[int]bool{}}
}

// grow reads what was written since, in whole lines, and returns how many
// different events there are.
func (l *countLedger) grow() int {
	l.t.Helper()
	files, err := filepath.Glob(filepath.Join(l.folder, "count.n-*"))
	must(l.t, err)
	for _, name := range files {
		f, err := os.Open(name)
		must(l.t, err)
		text, err := io.ReadAll(io.NewSectionReader(f, l.read[name], 1<<40))
		f.Close()
		must(l.t, err)
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		l.read[name] += int64(len(text))
		node := strings.TrimPrefix(filepath.Base(name), "count.")
		for line := range strings.Lines(string(text)) {
			var key string
			c := counted{node: node}
			if _, err := fmt.Sscan(line, &key, &c.n, &c.begin, &c.end); err != nil {
				l.t.Fatalf("record %q: %v", line, err)
			}
			l.byKey[key] = append(l.byKey[key], c)
			if l.distinct[key] == nil {
				l.distinct[key] = map[int]bool{}
			}
			if !l.distinct[key][c.n] {
				l.distinct[key][c.n] = true
				l.n++
			}
		}
	}
	return l.n
}

// affinityRun is a mesh whose nodes share the keys of a counting plugin.
type affinityRun struct {
	t      *testing.T
	url    string
	ledger *countLedger
	keys   int
	nodes  map[string]*process
	dirs   map[string]string
	leases *bridge.Leases
	sender *bridge.Bridge
	sent   int        // to each key
	owners [][]string // of the parts, before the first round and after each
}

const affinityParts = 64

func countConsumer() bridge.Consumer { return bridge.AnalysisConsumer("count") }

func (a *affinityRun) start(name string) {
	a.t.Helper()
	if a.dirs[name] == "" {
		a.dirs[name] = shortdir.New(a.t)
		configure(a.t, a.dirs[name], "plugins:\n  analysis: {order: [count]}\nmesh:\n  affinity: {count: origin.ip}\n")
		program{Kind: "analysis", Name: "count", Records: a.ledger.folder, Count: true}.install(a.t, a.dirs[name])
	}
	a.nodes[name] = startNode(a.t, a.dirs[name], "NATS_URL="+a.url, "NODE_NAME="+name)
}

// send gives every key one more event, in one order for all.
func (a *affinityRun) send() {
	a.t.Helper()
	a.sent++
	const batch = 1000
	for first := 0; first < a.keys; first += batch {
		var items []bridge.Item
		for k := first; k < min(first+batch, a.keys); k++ {
			e := &pb.Event{Id: strconv.Itoa(a.sent), TenantId: "t", DataType: "d", Origin: &pb.Side{Ip: keyName(k)}}
			body, err := proto.Marshal(e)
			must(a.t, err)
			items = append(items, bridge.Item{ID: bridge.NewID([]byte(keyName(k)), []byte(e.GetId())), Subject: bridge.EventSubject("t", "d"), Body: body})
		}
		must(a.t, a.sender.Publish(a.t.Context(), items...))
	}
}

func keyName(k int) string { return fmt.Sprintf("10.%d.%d.%d", k>>16, k>>8&255, k&255) }

// settled waits until the parts are with the nodes that they belong to.
func (a *affinityRun) settled(nodes ...string) []string {
	a.t.Helper()
	want := countConsumer().Assign(nodes, affinityParts)
	eventually(a.t, fmt.Sprintf("the parts are shared by %v", nodes), func() bool {
		have := map[string]string{}
		for _, h := range a.leases.Holders() {
			have[h.Name] = h.Node
		}
		for part, node := range want {
			if have[countConsumer().PartLease(part)] != node {
				return false
			}
		}
		return true
	})
	return want
}

// rest waits until all that was sent has been counted.
func (a *affinityRun) rest() {
	a.t.Helper()
	// As long as it goes on, it may take as long as the machine needs.
	for have := -1; have != a.sent*a.keys; {
		before := have
		deadline := time.Now().Add(patience)
		eventually(a.t, "all is counted", func() bool {
			have = a.ledger.grow()
			return have == a.sent*a.keys || have > before && time.Now().After(deadline.Add(-patience/2))
		})
	}
}

// round changes the nodes while events come, and goes on when all is at rest.
func (a *affinityRun) round(what string, change func(), nodes ...string) {
	a.t.Helper()
	before := a.owners[len(a.owners)-1]
	a.send()
	began := time.Now()
	change()
	a.send()
	after := a.settled(nodes...)
	moved := 0
	for part := range after {
		if after[part] != before[part] {
			moved++
		}
	}
	took := time.Since(began)
	a.rest()
	a.owners = append(a.owners, after)
	a.t.Logf("%s: %d of %d partitions moved, shared by %v after %s, at rest after %s",
		what, moved, affinityParts, nodes, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// All events of a key are with one instance at a time, in order, while nodes
// join, leave, are killed, and are stopped and woken up; and only those keys move
// that must.
func TestAffinity(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	a := &affinityRun{
		t: t, url: server.url(), ledger: newCountLedger(t), keys: 2000, nodes: map[string]*process{}, dirs: map[string]string{},
	}
	if text := os.Getenv("EPMESH_KEYS"); text != "" {
		var err error
		a.keys, err = strconv.Atoi(text)
		must(t, err)
	}
	var err error
	a.sender, err = bridge.Open(t.Context(), bridge.Options{Name: "sender", URL: server.url()})
	must(t, err)
	t.Cleanup(a.sender.Close)
	a.start("n-a")
	a.start("n-b")
	a.nodes["n-a"].await()
	a.nodes["n-b"].await()
	a.leases = a.sender.Leases(bridge.LeaseOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { _ = a.leases.Serve(ctx) })
	t.Cleanup(func() { cancel(); watching.Wait() })
	a.owners = [][]string{a.settled("n-a", "n-b")}
	eventually(t, "status shows who has the partitions, and nobody to be missing", func() bool {
		out, err := epmeshCommand(t, "status", "--url", server.url()).Output()
		has := regexp.MustCompile(`, (\d+) partitions: n-a has (\d+), n-b has (\d+); n-[ab] routes`).FindStringSubmatch(string(out))
		if err != nil || has == nil || strings.Contains(string(out), "prune keyed") {
			return false
		}
		one, _ := strconv.Atoi(has[2])
		two, _ := strconv.Atoi(has[3])
		return has[1] == strconv.Itoa(affinityParts) && one+two == affinityParts
	})

	a.round("at first", func() {}, "n-a", "n-b")
	a.round("n-c joins", func() { a.start("n-c") }, "n-a", "n-b", "n-c")
	a.round("n-a ends in order", func() { a.nodes["n-a"].stop() }, "n-b", "n-c")
	a.round("n-a joins", func() { a.start("n-a") }, "n-a", "n-b", "n-c")
	a.round("n-b is killed", func() { a.nodes["n-b"].kill() }, "n-a", "n-c")
	a.round("n-c is stopped", func() { must(t, a.nodes["n-c"].cmd.Process.Signal(syscall.SIGSTOP)) }, "n-a")
	a.round("n-c is woken up", func() { must(t, a.nodes["n-c"].cmd.Process.Signal(syscall.SIGCONT)) }, "n-a", "n-c")
	a.nodes["n-a"].stop()
	a.nodes["n-c"].stop()
	a.check()
}

// check holds the record against what is promised.
func (a *affinityRun) check() {
	t := a.t
	distinct, byKey := a.ledger.grow(), a.ledger.byKey
	if distinct != a.sent*a.keys || len(byKey) != a.keys {
		t.Errorf("%d events of %d keys were counted, %d of %d were sent", distinct, len(byKey), a.sent*a.keys, a.keys)
	}
	overlaps, disorder, strangers, repeats, moves := 0, 0, 0, 0, 0
	for key, list := range byKey {
		slices.SortFunc(list, func(a, b counted) int { return cmp.Compare(a.begin, b.begin) })
		part := bridge.PartOf(key, affinityParts)
		last, node := 0, ""
		end := int64(0)
		for _, c := range list {
			if c.begin < end && c.node != node {
				overlaps++
				t.Errorf("key %s: event %d begins on %s while the one before is with %s", key, c.n, c.node, node)
			}
			if c.node != node && node != "" {
				moves++
			}
			node, end = c.node, max(end, c.end)
			switch {
			case c.n <= last:
				repeats++
			case c.n != last+1:
				disorder++
				t.Errorf("key %s: event %d after event %d", key, c.n, last)
			default:
				last = c.n
			}
			// Two events are sent in each round, which goes from one to the next.
			round := (c.n - 1) / 2
			if before, after := a.owners[round][part], a.owners[round+1][part]; c.node != before && c.node != after {
				strangers++
				t.Errorf("key %s: event %d is with %s, its part is with %s, then with %s", key, c.n, c.node, before, after)
			}
			if overlaps+disorder+strangers > 20 {
				t.Fatal("and so on")
			}
		}
	}
	t.Logf("%d keys, %d events, %d counted again, %d moves of a key; at two instances at once %d, out of order %d, moved without need %d, lost %d",
		a.keys, a.sent*a.keys, repeats, moves, overlaps, disorder, strangers, a.sent*a.keys-distinct)
}
