package httpin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/tidwall/gjson"
)

const (
	asText   = "text/plain; charset=utf-8"
	asJSON   = "application/json"
	asNDJSON = "application/x-ndjson"
)

func TestFormats(t *testing.T) {
	w := run(t, with(`"paths":[{"path":"/logs"},{"path":"/lines","format":"lines"},{"path":"/json","format":"json"}]`, ""))
	for _, c := range []struct {
		path, media, body string
		want              []string
	}{
		{"/logs", asText, "one\ntwo\r\n\n three \nlast", []string{"one", "two", " three ", "last"}},
		{"/lines", "application/x-www-form-urlencoded", "a=b\n", []string{"a=b"}},
		{"/logs", asText, "bad \xff byte", []string{"bad \uFFFD byte"}},
		{"/logs", asNDJSON, "{\"a\":1}\n\n{\"b\": [1, 2]}\r\n", []string{`{"a":1}`, `{"b": [1, 2]}`}},
		{"/logs", asJSON, ` [ {"a":"]\"["}, "text \u00e9", 5 , [1,[2]], true ] `, []string{`{"a":"]\"["}`, "text é", "5", "[1,[2]]", "true"}},
		{"/logs", asJSON, `{"a":1}{"b":2} [3]`, []string{`{"a":1}`, `{"b":2}`, "3"}},
		{"/logs", "application/json-lines", `{"a":1}`, []string{`{"a":1}`}},
		{"/json", "", "\xEF\xBB\xBF" + `{"a":1}`, []string{`{"a":1}`}},
		{"/logs", asJSON, `[]`, nil},
		{"/logs", asText, "\n\n", nil},
	} {
		for _, encoding := range []string{"", "gzip", "deflate", "zstd"} {
			before := len(w.Stored())
			header := []string{"Content-Type", c.media}
			if encoding != "" {
				header = append(header, "Content-Encoding", encoding)
			}
			w.want(t, 200, fmt.Sprintf(`"stored":%d`, len(c.want)), c.path, packed(t, encoding, []byte(c.body)), header...)
			// The answer is the promise: nothing is waited for here.
			if got := w.Raws()[before:]; !slices.Equal(got, c.want) {
				t.Errorf("%s %s %q: %q, want %q", c.path, encoding, c.body, got, c.want)
			}
		}
	}
	ids := map[string]bool{}
	for _, l := range w.Stored() {
		if ids[l.Id] || l.DataType != "generic" || l.DataSource != "127.0.0.1" || l.TenantId != "" || l.Timestamp == "" {
			t.Errorf("log: %v", l)
		}
		ids[l.Id] = true
	}
}

func TestRefusals(t *testing.T) {
	w := run(t, with("", `"maxBody":2048,"maxRecord":100,"maxRecords":20`))
	long := strings.Repeat("x", 101)
	for _, c := range []struct {
		media, body string
		status      int
		part        string
	}{
		{asNDJSON, "{\"a\":1}\n{\"b\":}\n{}", 400, `"record":1`},
		{asNDJSON, "{\"a\":1}\n{\"b\":}\n{}", 400, "record 1, at byte 8: no valid JSON"},
		{asJSON, `[{"a":1} {"b":1}]`, 400, "want a comma"},
		{asJSON, `[{"a":1},`, 400, "a value is missing"},
		{asJSON, `[1,]`, 400, `"record":1`},
		{asJSON, `["",1]`, 400, "record 0 is empty"},
		{asJSON, `[1,null]`, 400, "record 1 is empty"},
		{asJSON, `]`, 400, `"record":0`},
		{asJSON, `"no end`, 400, "no end"},
		{asJSON, strings.Repeat("[", 1000), 400, "nested deeper"},
		{asText, "a\n" + long, 413, `"record":1`},
		{asText, strings.Repeat("a\n", 21), 413, "maxRecords"},
		{asText, strings.Repeat("ab\n", 1000), 413, "maxBody"},
		{"", "a", 415, "Content-Type"},
		{"application/x-www-form-urlencoded", "a", 415, "text/plain"},
	} {
		answer, h := w.want(t, c.status, c.part, "/logs", []byte(c.body), "Content-Type", c.media)
		if h.Get("Content-Type") != asJSON || gjson.Get(answer, "error").String() == "" {
			t.Errorf("answer to %.30q: %s", c.body, answer)
		}
	}
	bomb := bytes.Repeat([]byte{'0'}, 1<<20)
	for _, encoding := range []string{"gzip", "deflate", "zstd"} {
		w.want(t, 413, "uncompressed", "/logs", packed(t, encoding, bomb), "Content-Type", asText, "Content-Encoding", encoding)
		w.want(t, 400, "no whole "+encoding, "/logs", []byte("not packed"), "Content-Type", asText, "Content-Encoding", encoding)
		cut := packed(t, encoding, []byte("whole"))
		w.want(t, 400, "no whole "+encoding, "/logs", cut[:len(cut)-3], "Content-Type", asText, "Content-Encoding", encoding)
	}
	w.want(t, 415, "Content-Encoding", "/logs", nil, "Content-Type", asText, "Content-Encoding", "br")
	w.want(t, 404, "", "/other", nil)
	w.want(t, 400, "Idempotency-Key", "/logs", nil, "Content-Type", asText, "Idempotency-Key", strings.Repeat("k", 256))
	resp, err := w.client.Get(w.url + "/logs")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
	if n := len(w.Received()); n != 0 {
		t.Errorf("%d logs of refused requests were sent: all or nothing", n)
	}
	if requests, bytes := w.server.hand.state(); requests != 0 || bytes != 0 {
		t.Errorf("%d requests with %d bytes are still in hand", requests, bytes)
	}
	w.stop()
	if last := w.out.Lines("requests so far"); len(last) != 1 || last[0].Get("tooLarge").Int() != 6 || last[0].Get("records").Int() != 0 {
		t.Errorf("counters: %v", last)
	}
}

func TestWhereLogsAreFrom(t *testing.T) {
	dir := t.TempDir()
	free := writeFile(t, dir, "free", "free-token-0123456789\n")
	held := writeFile(t, dir, "held", "# rotated\nheld-token-0123456789\nnext-token-0123456789\n")
	settings := with(`"dataType":"general","tenant":"us","paths":[
		{"path":"/plain"},
		{"path":"/own","dataType":"app","dataSource":"box","tenant":"them"},
		{"path":"/free","choose":["dataType","dataSource","tenant"]},
		{"path":"/in/{tenant}/{dataType}"},
		{"path":"/fields","fields":{"dataType":"kind","dataSource":"host.name","timestamp":"at","raw":"msg"}}]`,
		fmt.Sprintf(`"tokens":[{"file":%q},{"file":%q,"tenant":"acme","dataType":"fixed"}]`, free, held))
	w := run(t, settings)
	const freely, bound, next = "Bearer free-token-0123456789", "bearer held-token-0123456789", "Bearer next-token-0123456789"
	for _, c := range []struct {
		path, token, want string // want: data type, source, tenant, or a status and a part of the answer
		header            []string
	}{
		{"/plain", freely, "general 127.0.0.1 us", nil},
		{"/own", freely, "app box them", nil},
		{"/own", bound, "fixed box acme", nil},
		{"/own", next, "fixed box acme", nil},
		{"/free", freely, "a b c", []string{"X-Data-Type", "a", "X-Data-Source", "b", "X-Tenant", "c"}},
		{"/free?dataType=a&tenant=c", freely, "a 127.0.0.1 c", nil},
		{"/free?dataType=a", freely, "400 twice", []string{"X-Data-Type", "b"}},
		{"/free?tenant=acme", bound, "fixed 127.0.0.1 acme", nil},
		{"/free?tenant=other", bound, "403 bound to another tenant", nil},
		{"/in/t1/d1", freely, "d1 127.0.0.1 t1", nil},
		{"/in/t1/d1", bound, "403 bound to another dataType", nil},
		{"/in/acme/fixed", bound, "fixed 127.0.0.1 acme", nil},
		{"/in/t1/d%0a1", freely, "400 printable", nil},
		{"/plain?tenant=x", freely, "403 may not choose the tenant", nil},
		{"/plain", freely, "403 may not choose the dataSource", []string{"X-Data-Source", "x"}},
		{"/plain", "", "401 token is needed", nil},
		{"/plain", "Basic free-token-0123456789", "401 token is needed", nil},
		{"/plain", "Bearer free-token-012345678", "401 does not hold", nil},
	} {
		before := len(w.Stored())
		status, answer, h := w.call(t, c.path, []byte("x"), append(c.header, "Content-Type", asText, "Authorization", c.token)...)
		got := fmt.Sprint(status, " ", answer)
		if status == 200 {
			l := w.Stored()[before]
			got = l.DataType + " " + l.DataSource + " " + l.TenantId
		} else if code, part, _ := strings.Cut(c.want, " "); strings.HasPrefix(got, code) && strings.Contains(got, part) {
			got = c.want
		}
		if got != c.want {
			t.Errorf("%s %s %q: %s, want %s", c.path, c.token, c.header, got, c.want)
		}
		if (status == 401) != (h.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: WWW-Authenticate %q with %d", c.path, h.Get("WWW-Authenticate"), status)
		}
	}
	record := []byte(`{"kind":"k","host":{"name":"h"},"at":"2026-11-26T15:00:00+01:00","msg":"only this"}`)
	w.want(t, 200, "1", "/fields", record, "Content-Type", asJSON, "Authorization", freely)
	w.want(t, 200, "1", "/fields", record, "Content-Type", asJSON, "Authorization", bound)
	w.want(t, 400, "want a time", "/fields", []byte(`{"at":"noon"}`), "Content-Type", asJSON, "Authorization", freely)
	logs := w.Stored()[len(w.Stored())-2:]
	if l := logs[0]; l.DataType != "k" || l.DataSource != "h" || l.Timestamp != "2026-11-26T14:00:00Z" || l.Raw != "only this" || l.TenantId != "us" {
		t.Errorf("fields: %v", l)
	}
	if l := logs[1]; l.DataType != "fixed" || l.TenantId != "acme" {
		t.Errorf("fields of a bound token: %v", l)
	}
	for _, secret := range []string{"free-token", "held-token"} {
		if strings.Contains(w.out.String(), secret) {
			t.Errorf("the log holds a token")
		}
	}
}

// While the node stores nothing, what is taken stays in hand, further requests
// are told to come again, and in the end all that was answered with success is
// stored, and nothing else was promised.
func TestBackPressure(t *testing.T) {
	w := run(t, with("", `"maxRequests":4,"storeTimeout":"300ms","retryAfter":"3s"`))
	w.Hold(true)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range 12 {
		wg.Go(func() {
			status, _, h := w.call(t, "/logs", fmt.Appendf(nil, "line %d", i), "Content-Type", asText)
			if (status == 429 || status == 503) && h.Get("Retry-After") != "3" {
				t.Errorf("%d with Retry-After %q", status, h.Get("Retry-After"))
			}
			mu.Lock()
			statuses[status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if statuses[503] != 4 || statuses[429] != 8 {
		t.Errorf("answers: %v, want 4 that waited in vain and 8 that were not let in", statuses)
	}
	// They were answered, and their records still wait: still no room.
	if status, _, _ := w.call(t, "/logs", []byte("x"), "Content-Type", asText); status != 429 {
		t.Errorf("with all in hand: %d", status)
	}
	w.Hold(false)
	w.Wait(t, "room", func() bool { requests, bytes := w.server.hand.state(); return requests == 0 && bytes == 0 })
	w.inTime(t, `"stored":1`, "/logs", []byte("after"), "Content-Type", asText)
}

// A body for which there is no room is not read to its end.
func TestBytesInHand(t *testing.T) {
	w := run(t, with("", `"maxBody":65536,"maxInHand":65536,"storeTimeout":"20s"`))
	w.Hold(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		w.want(t, 200, `"stored":1`, "/logs", bytes.Repeat([]byte("a"), 60000), "Content-Type", asText)
	})
	w.Wait(t, "the first in hand", func() bool { return len(w.Received()) == 1 })
	w.want(t, 429, "maxInHand", "/logs", bytes.Repeat([]byte("b"), 60000), "Content-Type", asText)
	w.want(t, 429, "maxInHand", "/logs", packed(t, "gzip", bytes.Repeat([]byte("b"), 60000)), "Content-Type", asText, "Content-Encoding", "gzip")
	w.Hold(false)
	wg.Wait()
	w.want(t, 200, `"stored":1`, "/logs", bytes.Repeat([]byte("b"), 60000), "Content-Type", asText)
}

// A client that is slow with its body is let go; a record of it is not sent.
func TestSlowClient(t *testing.T) {
	w := run(t, with("", `"headerTimeout":"100ms","readTimeout":"200ms"`))
	c, err := net.Dial("tcp", w.address(0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf\n")
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
		t.Errorf("answer %q, %v", b, err)
	}
	if len(w.Received()) != 0 {
		t.Error("half a body was taken")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	w := run(t, with("", `"maxConnections":1`))
	first, err := net.Dial("tcp", w.address(0))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(first, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if n, err := first.Read(make([]byte, 1024)); n == 0 {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() { status, _, _ := w.call(t, "/logs", []byte("x"), "Content-Type", asText); answered <- status }()
	select {
	case status := <-answered:
		t.Errorf("a second connection was answered %d beside the first", status)
	case <-time.After(100 * time.Millisecond):
	}
	first.Close()
	if status := <-answered; status != 200 {
		t.Errorf("after the first: %d", status)
	}
}

// Stop answers what is in hand and takes nothing new.
func TestStopFinishes(t *testing.T) {
	w := run(t, local)
	w.Hold(true)
	answered := make(chan int, 1)
	go func() {
		status, _, _ := w.call(t, "/logs", []byte("in hand"), "Content-Type", asText)
		answered <- status
	}()
	w.Wait(t, "the log", func() bool { return len(w.Received()) == 1 })
	stopped := make(chan struct{})
	go func() { w.stop(); close(stopped) }()
	w.Wait(t, "no more connections", func() bool {
		c, err := net.Dial("tcp", w.address(0))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	w.Hold(false)
	if status := <-answered; status != 200 {
		t.Errorf("the request in hand: %d", status)
	}
	<-stopped
}

// With a node that stores nothing, stop does not wait for ever and promises
// nothing.
func TestStopWithStalledNode(t *testing.T) {
	w := run(t, local)
	w.Hold(true)
	answered := make(chan int, 1)
	go func() {
		status, _, _ := w.call(t, "/logs", []byte("in hand"), "Content-Type", asText)
		answered <- status
	}()
	w.Wait(t, "the log", func() bool { return len(w.Received()) == 1 })
	began := time.Now()
	w.stop()
	if took := time.Since(began); took > stopWait+closeWait+2*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if status := <-answered; status == 200 {
		t.Error("success was answered for what was not stored")
	}
}

// A node that goes away and comes back is not noticed but by the time it takes.
func TestNodeRestart(t *testing.T) {
	w := run(t, local)
	w.want(t, 200, "1", "/logs", []byte("one"), "Content-Type", asText)
	w.BreakAfter(2)
	w.want(t, 200, "3", "/logs", []byte("two\nthree\nfour"), "Content-Type", asText)
	w.Stop()
	answered := make(chan int, 1)
	go func() {
		status, _, _ := w.call(t, "/logs", []byte("five"), "Content-Type", asText)
		answered <- status
	}()
	w.Start(t)
	if status := <-answered; status != 200 {
		t.Errorf("over a restart: %d", status)
	}
	if got := strings.Join(w.Raws(), " "); got != "one two three four five" {
		t.Errorf("stored: %s", got)
	}
}

func TestHealth(t *testing.T) {
	token := writeFile(t, t.TempDir(), "t", "0123456789abcdef")
	w := run(t, with("", fmt.Sprintf(`"tokens":[{"file":%q}]`, token)))
	resp, err := w.client.Get(w.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || gjson.GetBytes(b, "status").String() != "ok" {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := New(instance(shortdir.New(t), io.Discard, fmt.Sprintf(`{"listeners":[{"listen":"127.0.0.1:0"},{"listen":%q}]}`, l.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen on 127") {
		t.Errorf("run: %v", err)
	}
}

func TestSettings(t *testing.T) {
	short := writeFile(t, t.TempDir(), "short", "short\n")
	for text, want := range map[string]string{
		`{}`:                                 "listeners: at least one",
		`{"listeners":[{"listen":"8480"}]}`:  "listeners[0].listen",
		`{"listeners":[{"listen":":8480"}]}`: "has no TLS",
		`{"listeners":[{"listen":"0.0.0.0:8480","tls":{"cert":"/c","key":"/k"}}]}`:                "asks nobody who they are",
		`{"listeners":[{"listen":"127.0.0.1:1","tls":{"cert":"/c"}}]}`:                            "belong together",
		`{"listeners":[{"listen":"127.0.0.1:1","tls":{"cert":"c","key":"/k"}}]}`:                  "absolute",
		`{"listeners":[{"listen":"127.0.0.1:1","tls":{"cert":"/nowhere/c","key":"/nowhere/k"}}]}`: "tls.cert and tls.key: open /nowhere/c",
		`{"listeners":[{"listen":"127.0.0.1:1","tls":{"clientCA":"/c"}}]}`:                        "with cert and key only",
		`{"listeners":[{"listen":"127.0.0.1:1"}],"tokens":[{"file":"t"}]}`:                        "tokens[0].file",
		`{"listeners":[{"listen":"127.0.0.1:1"}],"tokens":[{"file":"/nowhere/t"}]}`:               "tokens[0].file: open /nowhere/t",
		fmt.Sprintf(`{"listeners":[{"listen":"127.0.0.1:1"}],"tokens":[{"file":%q}]}`, short):     "at least 16 characters",
		with(`"paths":[{"path":"logs"}]`, ""):                                                     "begins with /",
		with(`"paths":[{"path":"/{x}"}]`, ""):                                                     "a segment in braces",
		with(`"paths":[{"path":"/a"},{"path":"/a"}]`, ""):                                         "conflicts",
		with(`"paths":[{"path":"/a","format":"xml"}]`, ""):                                        "want auto, lines, json or otlp",
		with(`"paths":[{"path":"/a","choose":["name"]}]`, ""):                                     `choose: "name"`,
		with(`"paths":[{"path":"/a","bodyOnly":true}]`, ""):                                       "is for format: otlp",
		with(`"paths":[{"path":"/a","fields":{"id":"id"}}]`, ""):                                  "needs fields.timestamp",
		with(`"paths":[{"path":"/a","format":"otlp","fields":{"raw":"x"}}]`, ""):                  "with format: otlp only",
		with(`"paths":[{"path":"/a","format":"otlp","fields":{"timestamp":"at"}}]`, ""):           "want time or observedTime",
		with(`"dataType":"a\nb"`, ""):                                                             "printable text",
		with("", `"maxBody":5`):                                                                   "maxBody: is 5",
		with("", `"maxBody":65536,"maxInHand":2048`):                                              "less than maxBody",
		with("", `"storeTimeout":"1ms"`):                                                          "storeTimeout: is 1ms",
		with("", `"idempotency":{"keys":1}`):                                                      "idempotency.keys: is 1",
		with("", `"idempotency":{"kees":1}`):                                                      `unknown setting "kees"`,
		with(`"token":"x"`, ""):                                                                   `unknown setting "token"`,
	} {
		_, err := New(instance("", io.Discard, text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := New(instance("", io.Discard, `{"listeners":[{"listen":"0.0.0.0:8480","insecure":true},{"listen":"[::1]:0"}]}`)); err != nil {
		t.Error(err)
	}
}

func TestDefaultsAreWhatHolds(t *testing.T) {
	r, err := New(instance("", io.Discard, local))
	if err != nil {
		t.Fatal(err)
	}
	held, said := r.(*server).settings, Defaults().(settings)
	if a, b := jsonText(t, held.Listeners[0].Paths), jsonText(t, said.Listeners[0].Paths); a != b {
		t.Errorf("paths: %s and %s", a, b)
	}
	held.Listeners, said.Listeners, held.Tokens, said.Tokens = nil, nil, nil, nil
	if a, b := jsonText(t, held), jsonText(t, said); a != b {
		t.Errorf("%s and %s", a, b)
	}
}

func TestCanceledClient(t *testing.T) {
	w := run(t, local)
	w.Hold(true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.callContext(t, ctx, "/logs", []byte("gone"), "Content-Type", asText); close(done) }()
	w.Wait(t, "the log", func() bool { return len(w.Received()) == 1 })
	cancel()
	<-done
	w.Hold(false)
	w.Wait(t, "nothing in hand", func() bool { requests, bytes := w.server.hand.state(); return requests == 0 && bytes == 0 })
}
