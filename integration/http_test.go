package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// client posts requests of numbered records, each with a key, and sends each
// again with the same key until it is answered with success.
type client struct {
	url     string
	name    string
	sent    []string // the records of all requests that were answered with success
	retries int
}

func (c *client) run(t *testing.T, stop <-chan struct{}) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	h := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for request := 0; ; request++ {
		select {
		case <-stop:
			return
		default:
		}
		var body bytes.Buffer
		var names []string
		for i := range 5 {
			name := fmt.Sprintf("%s-%d-%d", c.name, request, i)
			names = append(names, name)
			fmt.Fprintf(&body, `{"ledger":%q}`+"\n", name)
		}
		key := fmt.Sprintf("%s-%d", c.name, request)
		for deadline := time.Now().Add(patience); !c.post(h, key, body.Bytes()); c.retries++ {
			if time.Now().After(deadline) {
				t.Errorf("request %s was never answered with success", key)
				return
			}
			<-time.After(20 * time.Millisecond) // as a client would
		}
		c.sent = append(c.sent, names...)
	}
}

func (c *client) post(h *http.Client, key string, body []byte) bool {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Idempotency-Key", key)
	resp, err := h.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// bundledProcess is the process of a bundled plugin of the node in dir; 0 where
// none runs.
func bundledProcess(dir, name string) int {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		command, err := os.ReadFile(entry + "/cmdline")
		if err != nil || !strings.Contains(string(command), "\x00run\x00"+name+"\x00") {
			continue
		}
		environment, err := os.ReadFile(entry + "/environ")
		if err == nil && strings.Contains("\x00"+string(environment), "\x00WORK_DIR="+dir+"\x00") && alive(filepath.Base(entry)) {
			pid, _ := strconv.Atoi(filepath.Base(entry))
			return pid
		}
	}
	return 0
}

// The http plugin and the node are killed while clients post: what was answered
// with success is there, once, however often it was sent.
func TestHTTPUnderKill(t *testing.T) {
	t.Parallel()
	long, _, seed := soak(t)
	rounds := 10
	if testing.Short() {
		rounds = 4
	}
	t.Logf("EPMESH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dir := shortdir.New(t)
	folder, _ := installMill(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	configure(t, dir, mill+fmt.Sprintf("  ingest:\n    bundled: http\n    storeTimeout: 5s\n    listeners: [{listen: %q, dataType: app}]\n", address))
	n := startNode(t, dir).await()

	stop := make(chan struct{})
	var clients []*client
	var posting sync.WaitGroup
	for i := range 4 {
		c := &client{url: "http://" + address + "/logs", name: fmt.Sprintf("c%d", i)}
		clients = append(clients, c)
		posting.Go(func() { c.run(t, stop) })
	}
	kills := map[string]int{}
	for began, round := time.Now(), 0; round < rounds || time.Since(began) < long; {
		// What is tested is the moment, so there is nothing to wait for.
		<-time.After(time.Duration(random.IntN(1500)) * time.Millisecond)
		victim := "node"
		if random.IntN(2) == 0 {
			victim = "http"
		}
		if victim == "node" {
			n.kill()
			n = startNode(t, dir)
		} else if pid := bundledProcess(dir, "http"); pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
			continue // it had not come back yet
		}
		kills[victim]++
		round++
	}
	n.await()
	close(stop)
	posting.Wait()
	o := observe(t, dir)
	o.rest()

	ids := map[string]map[string]bool{}
	events := map[string]bool{}
	for _, e := range records(t, folder, "archive.ledger", 2) {
		if ids[e[1]] == nil {
			ids[e[1]] = map[string]bool{}
		}
		ids[e[1]][e[0]] = true
		events[e[0]] = true
	}
	sent, retries := 0, 0
	var lost, doubled []string
	for _, c := range clients {
		sent, retries = sent+len(c.sent), retries+c.retries
		for _, name := range c.sent {
			switch len(ids[name]) {
			case 0:
				lost = append(lost, name)
			case 1:
			default:
				doubled = append(doubled, name)
			}
		}
	}
	alerts := checkAlerts(t, folder, events, o.dead(), o.alerts())
	t.Logf("killed %v; %d records answered with success, %d requests sent again, %d events, %d alerts", kills, sent, retries, len(events), alerts)
	if len(lost) > 0 || len(doubled) > 0 || sent == 0 {
		t.Errorf("%d of %d lost: %.5q; %d doubled: %.5q", len(lost), sent, lost, len(doubled), doubled)
	}
	n.stop()
}
