package webhook

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

// receiver is a web server that writes down what is posted to it.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	posts []post
	// answer says what the nth post is answered with; nil is 204.
	answer func(n int, w http.ResponseWriter, r *http.Request)
}

type post struct {
	method, path, body string
	header             http.Header
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	n := len(r.posts)
	r.posts = append(r.posts, post{req.Method, req.URL.Path, string(body), req.Header})
	answer := r.answer
	r.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(n, w, req)
}

func (r *receiver) all() []post {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.posts[:len(r.posts):len(r.posts)]
}

func receive(t testing.TB, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// codes answers the posts in order, the last one for ever.
func answers(list ...int) func(int, http.ResponseWriter, *http.Request) {
	return func(n int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(list[min(n, len(list)-1)]) }
}

func message(text string) *pb.Message {
	return &pb.Message{Id: "m1", Timestamp: "2026-11-23T18:00:00Z", Topic: "incidents", Message: text}
}

type values map[string]any

func build(t testing.TB, v values) *hook {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(plugins.Instance{Name: "n", Dir: shortdir.New(t), Logger: hclog.NewNullLogger(), Config: gjson.ParseBytes(text)})
	if err != nil {
		t.Fatal(err)
	}
	h := r.(*hook)
	t.Cleanup(h.client.CloseIdleConnections)
	return h
}

func put(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
