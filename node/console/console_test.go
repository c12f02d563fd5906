package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/epmesh/epmesh/node/console"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func metrics(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "some_metric 1\n") }

// start serves until the test ends.
func start(t *testing.T, opt console.Options) (srv *console.Server, stop func() error) {
	t.Helper()
	opt.Listen = "127.0.0.1:0"
	srv = console.New(opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	t.Cleanup(cancel)
	select {
	case <-srv.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	return srv, func() error {
		cancel()
		return <-done
	}
}

func TestReadiness(t *testing.T) {
	var ready atomic.Bool
	srv, stop := start(t, console.Options{Node: "n1", Parts: func() []console.Part {
		bus := console.Part{Name: "nats", Ready: ready.Load()}
		if !bus.Ready {
			bus.Reason = "connecting"
		}
		return []console.Part{{Name: "engine socket", Ready: true}, bus}
	}})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func(path string) (int, string) {
		res, err := client.Get("http://" + srv.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}

	code, body := get("/readyz")
	var got struct {
		Node  string
		Ready bool
		Parts []console.Part
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if code != 503 || got.Ready || got.Node != "n1" || len(got.Parts) != 2 || got.Parts[1] != (console.Part{Name: "nats", Reason: "connecting"}) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("a node that is not ready lives: %d %s", code, body)
	}
	ready.Store(true)
	if code, body := get("/readyz"); code != 200 || !strings.Contains(body, `"ready": true`) {
		t.Errorf("%d %s", code, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if res, err := client.Get("http://" + srv.Addr() + "/healthz"); err == nil {
		res.Body.Close()
		t.Error("it serves after Serve has returned")
	}
}

func TestPages(t *testing.T) {
	some := console.New(console.Options{Node: "<n1>", Metrics: http.HandlerFunc(metrics)})
	all := console.New(console.Options{Pprof: true})
	for _, tt := range []struct {
		srv          *console.Server
		method, path string
		code         int
		want         string
	}{
		{some, "GET", "/", 200, "&lt;n1&gt;"},
		{some, "GET", "/", 200, `<a href="metrics">`},
		{some, "GET", "/metrics", 200, "some_metric 1"},
		{some, "GET", "/nothing", 404, ""},
		{some, "POST", "/readyz", 405, ""},
		{some, "HEAD", "/healthz", 200, ""},
		{some, "GET", "/readyz", 200, `"parts": []`},
		{some, "GET", "/debug/pprof/", 404, ""},
		{all, "GET", "/debug/pprof/", 200, "goroutine"},
		{all, "GET", "/debug/pprof/heap?debug=1", 200, "heap profile"},
		{all, "GET", "/debug/pprof/cmdline", 200, ""},
		{all, "GET", "/metrics", 404, ""},
	} {
		rec := httptest.NewRecorder()
		tt.srv.Handler().ServeHTTP(rec, httptest.NewRequest(tt.method, tt.path, nil))
		if rec.Code != tt.code || !strings.Contains(rec.Body.String(), tt.want) {
			t.Errorf("%s %s: %d, want %d and %q in\n%s", tt.method, tt.path, rec.Code, tt.code, tt.want, rec.Body)
		}
		if rec.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: no nosniff", tt.method, tt.path)
		}
	}
}

func TestAddressesThatCannotBeBound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for addr, want := range map[string]string{
		l.Addr().String(): fmt.Sprintf("open console: %s is in use by another process: choose another with EPMESH_HTTP_LISTEN or http.listen", l.Addr()),
		"127.0.0.1":       "EPMESH_HTTP_LISTEN",
		"127.0.0.1:x":     "EPMESH_HTTP_LISTEN",
	} {
		srv := console.New(console.Options{Listen: addr})
		if err := srv.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", addr, err, want)
		}
		if srv.Addr() != "" {
			t.Errorf("it says it is bound to %s", srv.Addr())
		}
	}
}

func TestStopWithAConnectionThatSaysNothing(t *testing.T) {
	srv, stop := start(t, console.Options{})
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}
