package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/epmesh/epmesh/plugins/internal/delivery/deliverytest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestPosts(t *testing.T) {
	r := receive(t, answers(503, 204))
	h := build(t, values{
		"urlFile": put(t, "url", r.URL+"/hook/s3cret\n"), "headers": values{"X-Source": "mesh"},
		"headerFiles": values{"Authorization": put(t, "token", "Bearer s3cret\n")},
		"signature":   values{"secretFile": put(t, "key", "0123456789abcdef\n")},
		"topics":      []string{"incidents"},
	})
	if err := h.notify(t.Context(), message(`{"summary":"a < b","n":12345678901234567890}`)); err != nil {
		t.Fatal(err)
	}
	other := message("unwanted")
	other.Topic = "other"
	if err := h.notify(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	posts := r.all()
	if len(posts) != 2 {
		t.Fatalf("%d posts, want one and its repetition", len(posts))
	}
	p := posts[1]
	if want := `{"id":"m1","@timestamp":"2026-11-23T18:00:00Z","topic":"incidents","message":{"summary":"a < b","n":12345678901234567890}}`; p.body != want {
		t.Errorf("posted %s", p.body)
	}
	for name, want := range map[string]string{"Authorization": "Bearer s3cret", "X-Source": "mesh", "Idempotency-Key": "m1", "Content-Type": "application/json"} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if err := Verify("0123456789abcdef", p.header.Get("X-Epmesh-Timestamp"), p.header.Get("X-Epmesh-Signature"), []byte(p.body), time.Now(), time.Minute); err != nil {
		t.Error(err)
	}
	// The same message again is known; another with the same text is not.
	if err := h.notify(t.Context(), message("again")); err != nil || len(r.all()) != 2 {
		t.Errorf("%v, %d posts", err, len(r.all()))
	}
	text := message("no JSON")
	text.Id = "m2"
	if err := h.notify(t.Context(), text); err != nil || !strings.HasSuffix(r.all()[2].body, `"message":"no JSON"}`) {
		t.Errorf("a text: %v", err)
	}
}

func TestServed(t *testing.T) {
	r := receive(t, nil)
	h := build(t, values{"url": r.URL})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	if _, err := pb.NewNotificationClient(enginetest.Dial(t, h.Dir, "n_notification.sock")).Notify(t.Context(), message("x")); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil || len(r.all()) != 1 {
		t.Error(err)
	}
}

// isLater reports whether the node is told that the message is not to blame.
func isLater(err error) bool {
	return status.Code(err) == codes.Unavailable && len(status.Convert(err).Details()) == 1
}

func TestWhatTheNodeIsTold(t *testing.T) {
	for _, tt := range []struct {
		answers []int
		code    codes.Code
		later   bool
		posts   int // 0: two at least
	}{
		{[]int{200}, codes.OK, false, 1},
		{[]int{500, 503, 429, 202}, codes.OK, false, 4},
		{[]int{400}, codes.InvalidArgument, false, 1},
		{[]int{410}, codes.InvalidArgument, false, 1},
		{[]int{413}, codes.InvalidArgument, false, 1},
		{[]int{422}, codes.InvalidArgument, false, 1},
		{[]int{501}, codes.InvalidArgument, false, 1},
		{[]int{401}, codes.Unavailable, false, 1},
		{[]int{404}, codes.Unavailable, false, 1},
		{[]int{302}, codes.Unavailable, false, 1},
		{[]int{500}, codes.Unavailable, false, 0},
		{[]int{503}, codes.Unavailable, true, 0},
		{[]int{429}, codes.Unavailable, true, 0},
	} {
		t.Run(fmt.Sprint(tt.answers), func(t *testing.T) {
			t.Parallel()
			r := receive(t, answers(tt.answers...))
			retryFor := "700ms"
			if tt.code == codes.OK {
				retryFor = "20s"
			}
			err := build(t, values{"url": r.URL, "retryFor": retryFor}).notify(t.Context(), message("x"))
			if status.Code(err) != tt.code || isLater(err) != tt.later {
				t.Errorf("the node is told %v, later %v", err, isLater(err))
			}
			if err != nil && !strings.Contains(err.Error(), fmt.Sprint("receiver answered ", tt.answers[0])) {
				t.Errorf("no reason: %v", err)
			}
			if n := len(r.all()); tt.posts > 0 && n != tt.posts || n < 1 || tt.posts == 0 && n < 2 {
				t.Errorf("%d posts", n)
			}
		})
	}
}

func TestAwayKeepsTheURLSecret(t *testing.T) {
	r := receive(t, nil)
	r.Close()
	h := build(t, values{"url": r.URL + "/hook/s3cret", "retryFor": "300ms"})
	err := h.notify(t.Context(), message("x"))
	if !isLater(err) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("post: %v", err)
	}
}

// One message that the receiver fails over, while it takes others, is an
// attempt; else it would come again for ever.
func TestOneMessageIsToBlame(t *testing.T) {
	r := receive(t, func(_ int, w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Idempotency-Key") == "bad" {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	h := build(t, values{"url": r.URL, "retryFor": "1s"})
	var calls sync.WaitGroup
	defer calls.Wait()
	done := make(chan struct{})
	defer close(done)
	calls.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			m := message("x")
			m.Id = fmt.Sprint(i)
			_ = h.notify(t.Context(), m)
		}
	})
	bad := message("x")
	bad.Id = "bad"
	if err := h.notify(t.Context(), bad); status.Code(err) != codes.Unavailable || isLater(err) {
		t.Errorf("the node is told %v", err)
	}
}

func TestBlackHole(t *testing.T) {
	release := make(chan struct{})
	r := receive(t, func(_ int, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	h := build(t, values{"url": r.URL, "timeout": "150ms", "retryFor": "200ms"})
	begin := time.Now()
	if err := h.notify(t.Context(), message("x")); !isLater(err) {
		t.Errorf("post: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.notify(ctx, message("x")); err == nil {
		t.Error("a call that was given up ended well")
	}
}

// What waits when the plugin stops goes back to the node at once.
func TestStopsAtOnce(t *testing.T) {
	r := receive(t, nil)
	r.Close()
	h := build(t, values{"url": r.URL, "retryFor": "1h"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	answer := make(chan error, 1)
	client := pb.NewNotificationClient(enginetest.Dial(t, h.Dir, "n_notification.sock"))
	go func() {
		_, err := client.Notify(t.Context(), message("x"))
		answer <- err
	}()
	for !h.gate.Failing() { // until it has tried
		select {
		case err := <-answer:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	begin := time.Now()
	cancel()
	if err := <-answer; !isLater(err) {
		t.Errorf("the call: %v", err)
	}
	if err := <-ended; err != nil || time.Since(begin) > 3*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "2": 2 * time.Second, "-1": 0, "x": 0, "99999999999999": 0,
		"Mon, 23 Nov 2026 18:00:10 GMT": 10 * time.Second, "Mon, 23 Nov 2026 17:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
	r := receive(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	begin := time.Now()
	if err := build(t, values{"url": r.URL}).notify(t.Context(), message("x")); err != nil || time.Since(begin) < time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
}

// A bounded rate makes calls wait, and those that waited in vain come later.
func TestRateAndConcurrency(t *testing.T) {
	var now, most atomic.Int32
	r := receive(t, func(_ int, _ http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-time.After(20 * time.Millisecond)
	})
	h := build(t, values{"url": r.URL, "concurrency": 3, "rate": 20, "retryFor": "700ms"})
	var later, taken atomic.Int32
	var calls sync.WaitGroup
	for i := range 60 {
		calls.Go(func() {
			m := message("x")
			m.Id = fmt.Sprint(i)
			switch err := h.notify(t.Context(), m); {
			case err == nil:
				taken.Add(1)
			case status.Code(err) == codes.Unavailable:
				later.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if most.Load() > 3 || taken.Load() < 15 || taken.Load() > 45 || later.Load()+taken.Load() != 60 || int(taken.Load()) != len(r.all()) {
		t.Errorf("at once %d, taken %d, later %d, posts %d", most.Load(), taken.Load(), later.Load(), len(r.all()))
	}
}

func TestRedirects(t *testing.T) {
	other := receive(t, nil)
	r := receive(t, func(_ int, w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/here":
			http.Redirect(w, req, "/there", http.StatusPermanentRedirect)
		case "/away":
			http.Redirect(w, req, other.URL, http.StatusPermanentRedirect)
		case "/get":
			http.Redirect(w, req, "/there", http.StatusSeeOther)
		case "/round":
			http.Redirect(w, req, "/round", http.StatusTemporaryRedirect)
		}
	})
	if err := build(t, values{"url": r.URL + "/here"}).notify(t.Context(), message("x")); err != nil || r.all()[1].body == "" {
		t.Errorf("within the server: %v", err)
	}
	for _, path := range []string{"/away", "/get", "/round"} {
		if err := build(t, values{"url": r.URL + path}).notify(t.Context(), message("x")); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "answered 30") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if len(other.all()) != 0 {
		t.Error("a redirect was followed to another server")
	}
}

// Both sides of TLS are verified.
func TestTLS(t *testing.T) {
	authority := deliverytest.New(t)
	served, _, _ := authority.Issue("server")
	_, certFile, keyFile := authority.Issue("client")
	_, strangerFile, strangerKey := deliverytest.New(t).Issue("client")
	r := &receiver{}
	s := httptest.NewUnstartedServer(r)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{served}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	for name, tt := range map[string]struct {
		tls  values
		want string
	}{
		"both":              {values{"ca": authority.File, "cert": certFile, "key": keyFile}, ""},
		"unknown authority": {values{"cert": certFile, "key": keyFile}, "certificate"},
		"unknown client":    {values{"ca": authority.File, "cert": strangerFile, "key": strangerKey}, "tls: "},
		"no client":         {values{"ca": authority.File}, "certificate required"},
		"another name":      {values{"ca": authority.File, "cert": certFile, "key": keyFile, "serverName": "other.test"}, "other.test"},
	} {
		err := build(t, values{"url": s.URL, "retryFor": "0s", "tls": tt.tls}).notify(t.Context(), message("x"))
		if tt.want == "" && err != nil || tt.want != "" && (!isLater(err) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(r.all()) != 1 {
		t.Errorf("%d posts", len(r.all()))
	}
}

func TestProxy(t *testing.T) {
	var seen atomic.Value
	proxy := receive(t, func(_ int, _ http.ResponseWriter, r *http.Request) {
		seen.Store(r.Host + " " + r.Header.Get("Proxy-Authorization"))
	})
	with := strings.Replace(proxy.URL, "http://", "http://user:pass@", 1)
	if err := build(t, values{"url": "http://hooks.test/x", "proxyFile": put(t, "proxy", with)}).notify(t.Context(), message("x")); err != nil {
		t.Fatal(err)
	}
	if got := seen.Load(); got != "hooks.test Basic dXNlcjpwYXNz" {
		t.Errorf("the proxy has seen %v", got)
	}
	// The environment's proxies are another's business.
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	h := build(t, values{"url": proxy.URL})
	if p, err := h.client.Transport.(*http.Transport).Proxy(&http.Request{URL: &url.URL{Scheme: "http", Host: "hooks.test"}}); p != nil || err != nil {
		t.Error(p, err)
	}
}

func TestSettings(t *testing.T) {
	empty, short := put(t, "empty", ""), put(t, "short", "0123")
	for text, want := range map[string]string{
		`{}`:                                     "url: is needed",
		`{"url":"http://a.test","urlFile":"/x"}`: "want one of them",
		`{"url":"example.com/s3cret"}`:           "url: want an absolute URL",
		`{"urlFile":"/nowhere"}`:                 "urlFile: ",
		`{"url":"http://a.test","proxy":"ftp://s3cret"}`:                                                  "proxy: want an absolute URL",
		`{"url":"http://a.test","method":"GET"}`:                                                          "method: is ",
		`{"url":"http://a.test","format":"irc"}`:                                                          "format: is ",
		`{"url":"http://a.test","format":"slack","template":"x"}`:                                         "template: replaces",
		`{"url":"http://a.test","headers":{"A b":"c"}}`:                                                   `"A b" is no valid header`,
		`{"url":"http://a.test","headers":{"A":"b\nC: d"}}`:                                               `"A" is no valid header`,
		`{"url":"http://a.test","headers":{"content-length":"1"}}`:                                        "no valid header",
		`{"url":"http://a.test","headerFiles":{"A":"/nowhere"}}`:                                          "headerFiles.A: ",
		`{"url":"http://a.test","headerFiles":{"A":"` + empty + `"}}`:                                     "holds no secret",
		`{"url":"http://a.test","signature":{"secretFile":"/x"}}`:                                         "signature.secretFile: ",
		`{"url":"http://a.test","signature":{"secretFile":"` + short + `"}}`:                              "at least 16",
		`{"url":"http://a.test","timeout":"1ms"}`:                                                         "timeout: is 1ms",
		`{"url":"http://a.test","retryFor":"2h"}`:                                                         "retryFor: is 2h",
		`{"url":"http://a.test","concurrency":0}`:                                                         "concurrency: is 0",
		`{"url":"http://a.test","rate":-1}`:                                                               "rate: is -1",
		`{"url":"http://a.test","maxBody":1}`:                                                             "maxBody: is 1",
		`{"url":"http://a.test","tls":{"cert":"x"}}`:                                                      "tls: cert and key",
		`{"url":"http://a.test","template":"{{.Nope}}"}`:                                                  "template: ",
		`{"url":"http://a.test","template":"{{"}`:                                                         "template: ",
		`{"url":"http://a.test","template":"{\"text\": \"{{.Text}}\"}"}`:                                  "with a message of incidents: the output is no JSON",
		`{"url":"http://a.test","template":"{\"text\": \"{{.Title}}{{if not .Body}}{{.Text}}{{end}}\"}"}`: "with a body of plain text",
	} {
		_, err := New(plugins.Instance{Name: "n", Config: gjson.Parse(text)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTemplate(t *testing.T) {
	r := receive(t, nil)
	h := build(t, values{"url": r.URL, "method": "PUT", "template": `{"text":{{json .Line}},"ip":{{json (get "adversary.ip" .Body)}},"n":{{json .Body.n}}}`})
	if err := h.notify(t.Context(), message(`{"name":"N\"","severity":"low","adversary":{"ip":"192.0.2.1"},"n":12345678901234567890}`)); err != nil {
		t.Fatal(err)
	}
	if p := r.all()[0]; p.method != "PUT" || p.body != `{"text":"LOW N\" from 192.0.2.1","ip":"192.0.2.1","n":12345678901234567890}` {
		t.Errorf("%s %s", p.method, p.body)
	}
	h = build(t, values{"url": r.URL, "contentType": "text/plain", "template": `{{.Text}}`, "maxBody": 1024})
	if err := h.notify(t.Context(), message(strings.Repeat("x", 1025))); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "too long") {
		t.Errorf("too long: %v", err)
	}
	h = build(t, values{"url": r.URL, "maxBody": 1024})
	if err := h.notify(t.Context(), message(strings.Repeat("x", 1025))); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "maxBody") {
		t.Errorf("too long: %v", err)
	}
	if len(r.all()) != 1 {
		t.Error("posted all the same")
	}
}

// A receiver that takes the connection and no more.
func TestNoAnswerAtAll(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = build(t, values{"url": "http://" + l.Addr().String(), "timeout": "200ms", "retryFor": "0s"}).notify(t.Context(), message("x"))
	if !isLater(err) || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Error(err)
	}
}

func TestSecretsAreReadAnew(t *testing.T) {
	r := receive(t, nil)
	file := put(t, "token", "one")
	h := build(t, values{"url": r.URL, "headerFiles": values{"Authorization": file}})
	for i, token := range []string{"one", "two"} {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		m := message("x")
		m.Id = token
		if err := h.notify(t.Context(), m); err != nil || r.all()[i].header.Get("Authorization") != token {
			t.Errorf("%s: %v", token, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	m := message("x")
	m.Id = "three"
	if err := h.notify(t.Context(), m); status.Code(err) != codes.Unavailable || isLater(err) || errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its file: %v", err)
	}
}
