package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
)

// poll is what the program does that is an input which must run once: it counts,
// and keeps in its cursor how far it has come.
func (p program) poll() error {
	if err := p.alone(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cursor, err := plugins.OpenCursor()
	if err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		value, err := cursor.Get(ctx, "page")
		n := 0
		if err == nil && value != nil {
			n, err = strconv.Atoi(string(value))
		}
		if err == nil {
			err = cursor.Put(ctx, "page", fmt.Append(nil, n+1))
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, plugins.ErrSuperseded):
			return err
		case err != nil:
			continue
		}
		if err := p.note("polls", fmt.Sprint(n+1), fmt.Sprint(cursor.Epoch()), os.Getenv("NODE_NAME")); err != nil {
			return err
		}
	}
}

// polled is one line of a poller's record.
type polled struct {
	page  int
	epoch uint64
	node  string
}

func readPolls(t *testing.T, records string) (list []polled) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(records, "poller.polls"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var p polled
		if _, err := fmt.Sscan(line, &p.page, &p.epoch, &p.node); err != nil {
			t.Fatalf("record %q: %v", line, err)
		}
		list = append(list, p)
	}
	return list
}

// An input that must run once in the mesh runs on one node, also where that node
// is killed, stopped and woken up again, or told to end; and goes on where it
// was.
func TestSingletonMoves(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	records := t.TempDir()
	nodes := map[string]*process{}
	dirs := map[string]string{}
	start := func(name string) {
		nodes[name] = startNode(t, dirs[name], "NATS_URL="+server.url(), "NODE_NAME="+name)
	}
	for _, name := range []string{"a", "b", "c"} {
		dirs[name] = shortdir.New(t)
		configure(t, dirs[name], "mesh:\n  singletons: [poller]\n")
		program{Name: "poller", Records: records, Poll: true}.install(t, dirs[name])
		start(name)
	}
	for _, p := range nodes {
		p.await()
	}
	// next waits until another than the one before is at work, and says who.
	next := func(what string, before polled) polled {
		t.Helper()
		began := time.Now()
		var last polled
		eventually(t, "the poller runs "+what, func() bool {
			list := readPolls(t, records)
			if len(list) == 0 {
				return false
			}
			last = list[len(list)-1]
			return last.epoch > before.epoch && last.page > before.page+3
		})
		t.Logf("%s: it polls on %s after %s, at page %d", what, last.node, time.Since(began).Round(time.Millisecond), last.page)
		return last
	}
	at := next("at first", polled{})

	nodes[at.node].kill()
	killed := at.node
	at = next("after SIGKILL of its node", at)
	if at.node == killed {
		t.Errorf("it polls on %s, which was killed", at.node)
	}
	start(killed)
	nodes[killed].await()

	stopped := at.node
	must(t, nodes[stopped].cmd.Process.Signal(syscall.SIGSTOP))
	at = next("after SIGSTOP of its node", at)
	must(t, nodes[stopped].cmd.Process.Signal(syscall.SIGCONT))

	ended := at.node
	nodes[ended].stop()
	at = next("after its node was told to end", at)
	start(ended)
	nodes[ended].await()

	server.end(syscall.SIGKILL)
	server.start()
	eventually(t, "it polls after the server was started again", func() bool {
		list := readPolls(t, records)
		return list[len(list)-1].page > at.page+20
	})

	for _, p := range nodes {
		p.stop()
	}
	if text, err := os.ReadFile(filepath.Join(records, "poller.twice")); err == nil {
		t.Errorf("it ran twice at once: processes %s", text)
	}
	list := readPolls(t, records)
	if !slices.IsSortedFunc(list, func(a, b polled) int { return a.page - b.page }) {
		t.Error("its cursor went backwards")
	}
	missing := 0
	for i := 1; i < len(list); i++ {
		if list[i].page == list[i-1].page {
			t.Errorf("page %d was polled by epochs %d and %d", list[i].page, list[i-1].epoch, list[i].epoch)
		}
		if list[i].epoch < list[i-1].epoch {
			t.Errorf("page %d: epoch %d after %d", list[i].page, list[i].epoch, list[i-1].epoch)
		}
		missing += list[i].page - list[i-1].page - 1
	}
	// A process that is killed may have stored a page and not noted it.
	if missing > 4 {
		t.Errorf("%d pages are in no record", missing)
	}
	t.Logf("%d pages, %d of them not noted before a kill", list[len(list)-1].page, missing)
}
