package httpin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
)

// A request that is sent again with its key is stored once, whatever became of
// the first answer, and across a restart of the plugin.
func TestIdempotencyKey(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	settings := with("", `"storeTimeout":"200ms"`)
	w := runOver(t, e, settings)
	body := []byte("one\ntwo\n")
	header := []string{"Content-Type", asText, "Idempotency-Key", "k1"}

	w.Hold(true)
	w.want(t, 503, "same Idempotency-Key", "/logs", body, header...)
	w.Hold(false)
	w.inTime(t, `{"stored":2}`, "/logs", body, header...)
	w.inTime(t, `{"stored":2,"repeated":true}`, "/logs", body, header...)
	w.want(t, 422, "another body", "/logs", []byte("three"), header...)
	w.inTime(t, `{"stored":1}`, "/logs", []byte("three"), "Content-Type", asText, "Idempotency-Key", "k2")

	// Unanswered when the process ends: the time comes out of the journal.
	w.Hold(true)
	w.want(t, 503, "", "/logs", []byte("four"), "Content-Type", asText, "Idempotency-Key", "k3")
	w.Hold(false)
	w.Wait(t, "four", func() bool { return len(w.Stored()) == 4 })
	w.stop()
	w = runOver(t, e, settings)
	w.inTime(t, `{"stored":1}`, "/logs", []byte("four"), "Content-Type", asText, "Idempotency-Key", "k3")
	w.want(t, 200, `"repeated":true`, "/logs", body, header...)
	if got := strings.Join(w.Raws(), " "); got != "one two three four" {
		t.Errorf("stored: %s", got)
	}
	// The same log is the same bytes: by them the mesh knows it.
	byID := map[string]string{}
	for _, l := range w.Received() {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := byID[l.Id]; ok && before != string(b) {
			t.Errorf("log %s came as %q and as %q", l.Id, before, b)
		}
		byID[l.Id] = string(b)
	}
	if info, err := os.Stat(filepath.Join(w.Dir, "state", "http", "keys")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("journal: %v, %v", info.Mode(), err)
	}
}

// Two requests with one key at the same time are one.
func TestSameKeyAtOnce(t *testing.T) {
	w := run(t, local)
	w.Hold(true)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			w.want(t, 200, `"stored":1`, "/logs", []byte("once"), "Content-Type", asText, "Idempotency-Key", "k")
		})
	}
	w.Wait(t, "all in hand", func() bool { requests, _ := w.server.hand.state(); return requests == 5 })
	w.Hold(false)
	wg.Wait()
	if n := len(w.Received()); n != 1 {
		t.Errorf("%d logs were sent", n)
	}
}

// A key is one of its sender, path, data type and tenant.
func TestKeysAreApart(t *testing.T) {
	w := run(t, with(`"paths":[{"path":"/in/{tenant}"},{"path":"/other/{tenant}"}]`, ""))
	for _, path := range []string{"/in/a", "/in/b", "/other/a"} {
		w.want(t, 200, `{"stored":1}`, path, []byte("x"), "Content-Type", asText, "Idempotency-Key", "k")
	}
	if n := len(w.Stored()); n != 3 {
		t.Errorf("%d logs", n)
	}
}

func TestRecordID(t *testing.T) {
	w := run(t, with(`"paths":[{"path":"/logs","fields":{"id":"uid","timestamp":"at"}}]`, ""))
	body := []byte(`{"uid":"7","at":"2026-11-26T14:00:00Z"}`)
	for range 3 {
		w.want(t, 200, `"stored":1`, "/logs", body, "Content-Type", asJSON)
	}
	w.want(t, 400, "has an id and no time", "/logs", []byte(`{"uid":"8"}`), "Content-Type", asJSON)
	w.want(t, 200, `"stored":2`, "/logs", []byte(`[{"a":1},{"a":1}]`), "Content-Type", asJSON)
	if n := len(w.Stored()); n != 3 {
		t.Errorf("%d logs, want one of the id and two without", n)
	}
}

func TestSameBody(t *testing.T) {
	w := run(t, with(`"paths":[{"path":"/logs","sameBody":true}]`, ""))
	w.want(t, 200, `{"stored":1}`, "/logs", []byte("a"), "Content-Type", asText)
	w.want(t, 200, `"repeated":true`, "/logs", []byte("a"), "Content-Type", asText)
	w.want(t, 200, `{"stored":1}`, "/logs", []byte("b"), "Content-Type", asText)
	w.want(t, 200, `{"stored":1}`, "/logs", []byte("a"), "Content-Type", asText, "Idempotency-Key", "k")
}

func TestKeysAreForgotten(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_700_000_000, 0)
	k, err := openKeys(dir, 16, time.Hour, now, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	key := func(i int) digest { return sum(fmt.Sprint(i)) }
	for i := range 200 {
		at, stored, no := k.begin(t.Context(), key(i), digest{}, now)
		if no != nil || stored != -1 || !at.Equal(now) {
			t.Fatal(at, stored, no)
		}
		k.end(key(i), i)
	}
	if len(k.known) != 16 || k.journal.lines > 4*16+2 {
		t.Errorf("%d keys, %d lines", len(k.known), k.journal.lines)
	}
	if _, stored, _ := k.begin(t.Context(), key(199), digest{}, now); stored != 199 {
		t.Errorf("the last: %d", stored)
	}
	k.journal.close()
	f, err := os.OpenFile(filepath.Join(dir, "keys"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("nonsense\nbegun ab cd 1\nstored zz 1\nbegun " + key(1).String()) // torn
	f.Close()
	if k, err = openKeys(dir, 16, time.Hour, now.Add(30*time.Minute), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if _, stored, _ := k.begin(t.Context(), key(190), digest{}, now); stored != 190 || len(k.known) != 16 {
		t.Errorf("after a restart: %d, %d keys", stored, len(k.known))
	}
	k.journal.close()
	if k, err = openKeys(dir, 16, time.Hour, now.Add(2*time.Hour), hclog.NewNullLogger()); err != nil || len(k.known) != 0 {
		t.Errorf("after two hours: %d keys, %v", len(k.known), err)
	}
	k.journal.close()
}
