package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shared"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/encoding/protojson"
)

// parse runs epmesh parse in this process.
func parse(t testing.TB, stdin io.Reader, stdout io.Writer, args ...string) (stderr string, err error) {
	t.Helper()
	var errors bytes.Buffer
	var commands cli
	p, err := parser(&commands, stdout, &errors)
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := p.Parse(append([]string{"parse"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	err = chosen.Run(&app{ctx: t.Context(), stdin: stdin, stdout: stdout, stderr: &errors})
	return errors.String(), err
}

// parseDir is a work dir with these pipeline files, whose path is short enough
// for sockets.
func parseDir(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := shortdir.New(t)
	if err := os.Mkdir(filepath.Join(dir, "pipeline"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "pipeline", name), text, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t testing.TB, parts ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestParseCiscoASA compares what the command writes with what the reference
// engine gave, every field, with the addresses' data from a plugin behind its
// socket: a test double, and the bundled one as the command starts it, under the
// name that the filter calls.
func TestParseCiscoASA(t *testing.T) {
	recorded := shared.Dir(t, "conformance", "cisco-asa")
	files := map[string][]byte{
		"filter.yaml": read(t, recorded, "filter.yaml"), "patterns.yaml": read(t, recorded, "patterns.yaml"),
	}
	t.Run("double", func(t *testing.T) {
		dir := parseDir(t, files)
		serveGeolocation(t, recorded, dir, "com.utmstack.geolocation")
		compareCiscoASA(t, recorded, func(in io.Reader, out io.Writer) (string, error) {
			return parse(t, in, out, "--work-dir", dir, "--unknown")
		})
	})
	t.Run("bundled", func(t *testing.T) {
		files := maps.Clone(files)
		files["geo.yaml"] = fmt.Appendf(nil, "plugins:\n  com.utmstack.geolocation: {bundled: geolocation, require: true, folder: %q}\n", filepath.Join(recorded, "geolocation"))
		dir := parseDir(t, files)
		compareCiscoASA(t, recorded, func(in io.Reader, out io.Writer) (string, error) {
			return parseProgram(t, in, out, "--work-dir", dir, "--plugins", "--unknown", "--log-level", "error")
		})
	})
}

// parseProgram runs epmesh parse as a process, which can start bundled plugins.
func parseProgram(t testing.TB, in io.Reader, out io.Writer, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "epmesh", append([]string{"parse"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &stderr
	err := cmd.Run()
	return stderr.String(), err
}

// compareCiscoASA puts the recorded logs through run, which is epmesh parse.
func compareCiscoASA(t *testing.T, recorded string, run func(io.Reader, io.Writer) (string, error)) {
	t.Helper()
	var in bytes.Buffer
	cases := map[string]string{}
	decodeInto(t, read(t, recorded, "raw.json"), &struct{ Cases *map[string]string }{&cases})
	for name, raw := range cases {
		line, err := json.Marshal(map[string]string{
			"id": "cisco-asa-" + name, "dataType": "firewall-cisco-asa", "dataSource": "fixture-asa",
			"@timestamp": "2026-09-23T14:00:00Z", "tenantId": "00000000-0000-4000-8000-000000000001", "raw": raw,
		})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	var out bytes.Buffer
	logs := bytes.Clone(in.Bytes())
	stderr, err := run(&in, &out)
	if err != nil {
		t.Fatal(err, stderr)
	}
	if !strings.HasPrefix(stderr, "parsed 46 logs: 46 events (0 with errors), 0 dropped, 0 undecodable; ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("summary: %s", stderr)
	}
	type result struct {
		LogObject bool
		Fields    map[string]any
	}
	want := map[string]result{}
	decodeInto(t, read(t, recorded, "expected.json"), &struct{ Cases *map[string]result }{&want})
	same := 0
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, line := range lines {
		id := gjson.Get(line, "id").String()
		if sent := gjson.GetBytes(bytes.Split(logs, []byte("\n"))[i], "id").String(); id != sent {
			t.Errorf("event %d is of %s, its log was %s", i, id, sent)
		}
		w := want[strings.TrimPrefix(id, "cisco-asa-")]
		if got := eventFields(t, line); !reflect.DeepEqual(got, w.Fields) || gjson.Get(line, "log").Exists() != w.LogObject {
			t.Errorf("%s: got %v\nwant %v", id, got, w.Fields)
			continue
		}
		if gjson.Get(line, "deviceTime").String() != "2026-09-23T14:00:00Z" || gjson.Get(line, "raw").String() != cases[strings.TrimPrefix(id, "cisco-asa-")] {
			t.Errorf("%s: envelope %s", id, line)
			continue
		}
		same++
	}
	if same != 46 || len(want) != 46 {
		t.Errorf("%d of %d events are as recorded", same, len(want))
	}
}

// serveGeolocation serves the recordings' tables as a parsing plugin until the
// end of the test.
func serveGeolocation(t testing.TB, recorded, dir, name string) {
	t.Helper()
	geo, err := shared.LoadGeolocation(filepath.Join(recorded, "geolocation"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := plugins.Serve(ctx, plugins.Options{Name: name, Dir: dir, Logger: hclog.NewNullLogger(), Parse: geo.Parse}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); serving.Wait() })
}

func decodeInto(t testing.TB, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

// eventFields are the leaves of an event but for its envelope.
func eventFields(t testing.TB, line string) map[string]any {
	t.Helper()
	if err := protojson.Unmarshal([]byte(line), new(pb.Event)); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	got := map[string]any{}
	var walk func(path string, v gjson.Result)
	walk = func(path string, v gjson.Result) {
		switch {
		case v.IsObject() && (path == "" || len(v.Map()) > 0):
			v.ForEach(func(key, v gjson.Result) bool {
				walk(strings.TrimPrefix(path+"."+key.String(), "."), v)
				return true
			})
		case strings.HasSuffix(path, ".asn"): // 64 bits, which protobuf-JSON has as text
			got[path] = v.Float()
		default:
			got[path] = v.Value()
		}
	}
	walk("", gjson.Parse(line))
	for _, envelope := range []string{"id", "@timestamp", "deviceTime", "dataType", "dataSource", "tenantId", "tenantName", "raw"} {
		delete(got, envelope)
	}
	return got
}

// BenchmarkParse puts logs through the command: JSON in, a json step and
// seven more, JSON out.
func BenchmarkParse(b *testing.B) {
	dir := parseDir(b, map[string][]byte{"p.yaml": []byte(`
pipeline:
  - dataTypes: [app]
    steps:
      - json: {source: raw}
      - rename: {from: [log.src], to: origin.ip}
      - rename: {from: [log.dst], to: target.ip}
      - rename: {from: [log.user], to: origin.user}
      - cast: {fields: [log.bytes], to: int}
      - add: {function: string, params: {key: action, value: login}, where: 'equals("log.event", "login")'}
      - add: {function: string, params: {key: action, value: logout}, where: 'equals("log.event", "logout")'}
      - delete: {fields: [log.event]}
`)})
	var in bytes.Buffer
	for i := range b.N {
		raw := fmt.Sprintf(`{"src":"192.0.2.%d","dst":"198.51.100.7","user":"user%d","event":"login","bytes":"%d","path":"/a/b/c","agent":"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101","ok":true,"tags":["a","b"]}`, i%250, i, i)
		fmt.Fprintf(&in, `{"id":"%d","dataType":"app","dataSource":"web-1","@timestamp":"2026-09-23T14:00:00Z","tenantId":"t","raw":%q}`+"\n", i, raw)
	}
	b.SetBytes(int64(in.Len() / b.N))
	b.ReportAllocs()
	before := cpuTime(b)
	b.ResetTimer()
	if _, err := parse(b, &in, io.Discard, "--work-dir", dir); err != nil {
		b.Fatal(err)
	}
	if s := b.Elapsed().Seconds(); s > 0 {
		b.ReportMetric(math.Round(float64(b.N)/s), "logs/s")
	}
	// What a core could do, whatever else the machine does meanwhile.
	if spent := cpuTime(b) - before; spent > 0 {
		b.ReportMetric(math.Round(float64(b.N)/spent.Seconds()), "logs/s/core")
	}
}

// cpuTime is the processor time that this process has taken.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
