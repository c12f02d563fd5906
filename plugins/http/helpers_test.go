package httpin

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/klauspost/compress/zstd"
	"github.com/tidwall/gjson"
)

// world is a running plugin and the engine that it sends to.
type world struct {
	*enginetest.Engine
	out    *logbuffer.Buffer
	server *server
	url    string // of the first listener
	client *http.Client
	stop   func()
}

func instance(dir string, out io.Writer, settings string) plugins.Instance {
	return plugins.Instance{Name: "http", Dir: dir, Logger: plugins.NewLogger("http", out), Config: gjson.Parse(settings)}
}

// run starts the plugin over an engine; settings are JSON.
func run(t testing.TB, settings string) *world {
	t.Helper()
	return runOver(t, enginetest.New(t, shortdir.New(t)), settings)
}

func runOver(t testing.TB, e *enginetest.Engine, settings string) *world {
	t.Helper()
	w := &world{Engine: e, out: new(logbuffer.Buffer)}
	r, err := New(instance(w.Dir, w.out, settings))
	if err != nil {
		t.Fatal(err)
	}
	w.server = r.(*server)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	w.client = &http.Client{Transport: transport}
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
	})
	t.Cleanup(w.stop)
	w.Wait(t, "addresses", func() bool { return len(w.out.Lines("listening")) == len(w.server.Listeners) })
	w.url = "http://" + w.address(0)
	return w
}

func (w *world) address(i int) string { return w.out.Lines("listening")[i].Get("address").String() }

const local = `{"listeners":[{"listen":"127.0.0.1:0"}]}`

// with adds settings to those of one local listener.
func with(listener, settings string) string {
	text := `{"listeners":[{"listen":"127.0.0.1:0"`
	if listener != "" {
		text += "," + listener
	}
	text += "}]"
	if settings != "" {
		text += "," + settings
	}
	return text + "}"
}

// call is one request; header are names and values.
func (w *world) call(t testing.TB, path string, body []byte, header ...string) (status int, answer string, got http.Header) {
	t.Helper()
	return w.callContext(t, context.Background(), path, body, header...)
}

func (w *world) callContext(t testing.TB, ctx context.Context, path string, body []byte, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return resp.StatusCode, string(b), resp.Header
}

// want checks a status and a part of the answer.
func (w *world) want(t testing.TB, status int, part, path string, body []byte, header ...string) (string, http.Header) {
	t.Helper()
	got, answer, h := w.call(t, path, body, header...)
	if got != status || !strings.Contains(answer, part) {
		t.Errorf("%s %q: %d %s, want %d with %s", path, header, got, answer, status, part)
	}
	return answer, h
}

// inTime wants a 200, and sends again what a loaded machine did not store in time.
func (w *world) inTime(t testing.TB, part, path string, body []byte, header ...string) {
	t.Helper()
	status, answer := 0, ""
	w.Wait(t, "an answer in time", func() bool {
		status, answer, _ = w.call(t, path, body, header...)
		return status != http.StatusServiceUnavailable
	})
	if status != http.StatusOK || !strings.Contains(answer, part) {
		t.Errorf("%s %q: %d %s, want 200 with %s", path, header, status, answer, part)
	}
}

func packed(t testing.TB, encoding string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var in io.WriteCloser
	switch encoding {
	case "gzip":
		in = gzip.NewWriter(&out)
	case "deflate":
		in = zlib.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		in = z
	default:
		return b
	}
	if _, err := in.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func jsonText(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
