package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func message(text string) *pb.Message {
	return &pb.Message{Id: "m1", Timestamp: "2026-11-23T18:00:00Z", Topic: "incidents", Message: text}
}

func build(t *testing.T, settings string, log hclog.Logger) *notifier {
	t.Helper()
	r, err := New(plugins.Instance{Name: "n", Dir: shortdir.New(t), Logger: log, Config: gjson.Parse(settings)})
	if err != nil {
		t.Fatal(err)
	}
	n := r.(*notifier)
	return n
}

func TestPrintsOneLine(t *testing.T) {
	var out bytes.Buffer
	n := build(t, `{"topics":["incidents"]}`, plugins.NewLogger("n", &out))
	for _, text := range []string{`{"summary":"HIGH things","x":1}`, "plain\ntext", strings.Repeat("x", 5000)} {
		if err := n.notify(t.Context(), message(text)); err != nil {
			t.Fatal(err)
		}
	}
	other := message("unwanted")
	other.Topic = "other"
	if err := n.notify(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m["@message"].(string))
	}
	if len(lines) != 3 || lines[0] != "HIGH things" || lines[1] != "plain text" || len(lines[2]) > 2010 {
		t.Errorf("lines: %.100q", lines)
	}
}

func TestServed(t *testing.T) {
	n := build(t, "", hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	if _, err := pb.NewNotificationClient(enginetest.Dial(t, n.Dir, "n_notification.sock")).Notify(t.Context(), message("x")); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPosts(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("Bearer s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	var got []byte
	var header http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got, _ = io.ReadAll(r.Body)
		header = r.Header
	}))
	defer s.Close()
	settings, _ := json.Marshal(map[string]any{
		"url": s.URL, "headers": map[string]string{"X-Source": "mesh"}, "headerFiles": map[string]string{"Authorization": secret},
	})
	n := build(t, string(settings), hclog.NewNullLogger())
	if err := n.notify(t.Context(), message(`{"summary":"s"}`)); err != nil {
		t.Fatal(err)
	}
	if want := `{"id":"m1","@timestamp":"2026-11-23T18:00:00Z","topic":"incidents","message":{"summary":"s"}}`; string(got) != want {
		t.Errorf("posted %s", got)
	}
	if header.Get("Authorization") != "Bearer s3cret" || header.Get("X-Source") != "mesh" || header.Get("Idempotency-Key") != "m1" || header.Get("Content-Type") != "application/json" {
		t.Errorf("header: %v", header)
	}
	if calls.Load() != 2 {
		t.Errorf("%d calls", calls.Load())
	}
	if err := n.notify(t.Context(), message("no JSON")); err != nil || !bytes.Contains(got, []byte(`"message":"no JSON"`)) {
		t.Errorf("a text: %v %s", err, got)
	}
}

func TestAnswersAreClassified(t *testing.T) {
	for answer, want := range map[int]codes.Code{
		200: codes.OK, 204: codes.OK,
		301: codes.InvalidArgument, 400: codes.InvalidArgument, 413: codes.InvalidArgument, 422: codes.InvalidArgument, 501: codes.InvalidArgument,
		401: codes.Unavailable, 403: codes.Unavailable, 404: codes.Unavailable, 408: codes.Unavailable, 429: codes.Unavailable, 500: codes.Unavailable, 503: codes.Unavailable,
	} {
		if got := status.Code(classify(answer, []byte("because\n"))); got != want {
			t.Errorf("%d: %s, want %s", answer, got, want)
		}
	}
}

func TestUnreachableIsUnavailableAndKeepsTheURLSecret(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	n := build(t, `{"url":"`+s.URL+`/hook/s3cret","attempts":2}`, hclog.NewNullLogger())
	err := n.notify(t.Context(), message("x"))
	if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("post: %v", err)
	}
}

func TestTimeoutAndDeadline(t *testing.T) {
	release := make(chan struct{})
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	n := build(t, `{"url":"`+s.URL+`","timeout":"100ms","attempts":10}`, hclog.NewNullLogger())
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := n.notify(ctx, message("x")); status.Code(err) != codes.Unavailable {
		t.Errorf("post: %v", err)
	}
	if time.Since(begin) > 2*time.Second || calls.Load() > 3 {
		t.Errorf("%d calls in %s", calls.Load(), time.Since(begin))
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "2": 2 * time.Second, "99999": maxPause, "-1": 0, "Mon, 23 Nov 2026 18:00:00 GMT": 0} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestSettings(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"url":"example.com/s3cret"}`:                                     "url: want an absolute URL",
		`{"headers":{"A":"b"}}`:                                            "need a url",
		`{"url":"http://example.com","headers":{"A b":"c"}}`:               `"A b" is no valid header`,
		`{"url":"http://example.com","headers":{"A":"b\nC: d"}}`:           `"A" is no valid header`,
		`{"url":"http://example.com","headerFiles":{"A":"/nowhere"}}`:      "headerFiles.A: ",
		`{"url":"http://example.com","headerFiles":{"A":"` + empty + `"}}`: "holds no header's value",
		`{"url":"http://example.com","timeout":"1ms"}`:                     "timeout: is 1ms",
		`{"url":"http://example.com","attempts":0}`:                        "attempts: is 0",
	} {
		_, err := New(plugins.Instance{Name: "n", Config: gjson.Parse(text)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
