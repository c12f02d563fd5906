package offline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
)

// jsonLog is a line with a log of the type json.
func jsonLog(id, raw string) string {
	text, err := json.Marshal(map[string]string{"id": id, "dataType": "json", "@timestamp": "T", "dataSource": "s", "tenantId": "t", "raw": raw})
	if err != nil {
		panic(err)
	}
	return string(text) + "\n"
}

func TestStreamKinds(t *testing.T) {
	r, _ := open(t, workDir(t, plain1+`
      - add: {function: string, params: {key: origin.port, value: many}, where: 'exists("log.port")'}
      - add: {function: string, params: {key: nowhere, value: x}, where: 'exists("log.vanish")'}
`), func(o *Options) { o.Pipeline.ListUnknown = true })
	in := "\ufeff" + jsonLog("1", `{"n":"4.5"}`) + "\n \t\n" +
		jsonLog("2", `{"drop":1}`) +
		jsonLog("3", "no json") +
		"{\"id\":\n" +
		`{"id":"6","raw":5}` + "\n" +
		"[]\r\n" +
		"\xff{}\n" +
		"a\x00b\n" +
		`{"id":"10"}` + "\n" +
		strings.TrimSuffix(jsonLog("11", `{"port":1}`), "\n") + "\r\n" +
		`{"id":"12","datatype":"json","dataType":"json","raw":"{}","x":{"y":1},"@timestamp":"T","dataSource":"s","tenantId":"t"}` + "\n" +
		strings.TrimSuffix(jsonLog("13", `{"vanish":1}`), "\n")
	var out, dead bytes.Buffer
	var keys []string
	s := Stream{Runner: r, Dead: &dead, Unknown: func(line int, k []string) { keys = append(keys, fmt.Sprint(line, k)) }}
	got, err := s.Run(t.Context(), strings.NewReader(in), &out)
	if err != nil {
		t.Fatal(err)
	}
	want := Summary{
		Logs: 12, Events: 4, WithErrors: 1, Dropped: 1, Undecodable: 7, NoLogs: 5, UnknownKeys: 1, Vanished: 1,
		VanishedFields: map[string]int{"nowhere": 1}, Missed: map[string]int{}, Seconds: got.Seconds,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || got.Rate() <= 0 {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	var ids []string
	for line := range strings.Lines(out.String()) {
		ids = append(ids, gjson.Get(line, "id").String())
	}
	if fmt.Sprint(ids) != "[1 3 12 13]" {
		t.Errorf("events %v", ids)
	}
	first := `{"id":"1","@timestamp":"T","deviceTime":"T","dataType":"json","dataSource":"s","tenantId":"t","raw":"{\"n\":\"4.5\"}","log":{"n":0}}` + "\n"
	if !strings.HasPrefix(out.String(), first) {
		t.Errorf("first event %s", out.String())
	}
	if fmt.Sprint(keys) != "[13 [datatype x]]" {
		t.Errorf("unknown keys %q", keys)
	}
	var graves []string
	for line := range strings.Lines(dead.String()) {
		var d struct {
			Line        int
			Reason, Log string
			Bytes       []byte
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines := strings.Split(in, "\n")
		if kept := d.Log + string(d.Bytes); kept != strings.TrimSuffix(lines[d.Line-1], "\r") || d.Reason == "" {
			t.Errorf("line %d: kept %q with reason %q", d.Line, kept, d.Reason)
		}
		graves = append(graves, fmt.Sprintf("%d %s", d.Line, d.Reason))
	}
	wantGraves := strings.TrimSpace(`
6 not a log: unexpected EOF
7 not a log: column 17: invalid value for string field raw: 5
8 not a log: syntax error column 1: unexpected token [
9 not a log: byte 1 is not UTF-8
10 not a log: syntax error column 1: invalid value a`)
	text := strings.Join(graves, "\n")
	if !strings.HasPrefix(text, wantGraves) || !strings.Contains(text, "11 a node takes no such log: raw is empty") || !strings.Contains(text, "12 draft cannot become an event: field origin.port") {
		t.Errorf("dead lines:\n%s", text)
	}
}

func TestStreamOrder(t *testing.T) {
	dir := workDir(t, plain1)
	r, _ := open(t, dir, nil)
	var in bytes.Buffer
	for i := range 5000 {
		raw := `{"n":1}`
		if i%7 == 0 {
			raw = `{"s":"` + strings.Repeat("x", i*3) + `"}`
		}
		in.WriteString(jsonLog(fmt.Sprint(i), raw))
		if i%11 == 0 {
			in.WriteString(`{"id":"bad"` + "\n")
		}
	}
	var out, dead bytes.Buffer
	s := Stream{Runner: r, Dead: &dead, limit: 12_000}
	got, err := s.Run(t.Context(), &in, &out)
	if err != nil {
		t.Fatal(err)
	}
	last, n := -1, 0
	for line := range strings.Lines(out.String()) {
		if id := int(gjson.Get(line, "id").Int()); id <= last {
			t.Fatalf("event %d behind %d", id, last)
		} else {
			last = id
		}
		n++
	}
	last = 0
	for line := range strings.Lines(dead.String()) {
		if number := int(gjson.Get(line, "line").Int()); number <= last {
			t.Fatalf("dead line %d behind %d", number, last)
		} else {
			last = number
		}
	}
	if n != got.Events || got.Logs != 5455 || got.Events+got.Undecodable != got.Logs || got.Undecodable <= 455 {
		t.Errorf("%d events, %+v", n, got)
	}
}

// With a plugin that takes its time, logs go side by side and come out in order.
func TestStreamOrderWithPlugin(t *testing.T) {
	dir := workDir(t, "pipeline: [{dataTypes: [json], steps: [{dynamic: {plugin: p}}]}]")
	plugintest.Start(t, filepath.Join(dir, "sockets"), plugin.Parsing, "p", plugintest.Script{Delay: 100 * time.Millisecond, Only: "slow"})
	r, _ := open(t, dir, nil)
	var in bytes.Buffer
	for i := range 100 {
		raw := "fast"
		if i%2 == 0 {
			raw = "slow"
		}
		in.WriteString(jsonLog(fmt.Sprint(i), raw))
	}
	var out bytes.Buffer
	start := time.Now()
	if _, err := (&Stream{Runner: r}).Run(t.Context(), &in, &out); err != nil {
		t.Fatal(err)
	}
	i := 0
	for line := range strings.Lines(out.String()) {
		if gjson.Get(line, "id").String() != fmt.Sprint(i) || gjson.Get(line, "errors").Exists() {
			t.Fatalf("event %d is %s", i, line)
		}
		i++
	}
	if took := time.Since(start); i != 100 || took > 4*time.Second {
		t.Errorf("%d events in %v", i, took)
	}
}

// A line that is too long is kept whole, in its place, without being held.
func TestStreamLongLine(t *testing.T) {
	r, _ := open(t, workDir(t, plain1), nil)
	const size = 100 << 20
	long := io.LimitReader(repeat("x\x00\xff"), size)
	in := io.MultiReader(strings.NewReader(jsonLog("1", "{}")), long, strings.NewReader("\r\n"+jsonLog("2", "{}")))
	file, err := os.Create(filepath.Join(t.TempDir(), "dead"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var out bytes.Buffer
	start := time.Now()
	got, err := (&Stream{Runner: r, Dead: file}).Run(t.Context(), in, &out)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 200<<20 {
		t.Errorf("took %d MiB", grown>>20)
	}
	if got.Logs != 3 || got.Events != 2 || got.Undecodable != 1 || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%+v", got)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 90)
	if _, err := io.ReadFull(file, head); err != nil {
		t.Fatal(err)
	}
	prefix := `{"line":2,"reason":"line of more than 33554432 bytes","bytes":"`
	if !strings.HasPrefix(string(head), prefix) {
		t.Fatalf("dead line begins %s", head)
	}
	if _, err := file.Seek(int64(len(prefix)), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	rest := bufio.NewReader(file)
	n, err := io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, io.LimitReader(rest, int64(base64.StdEncoding.EncodedLen(size)))))
	if err != nil || n != size {
		t.Errorf("kept %d bytes, %v", n, err)
	}
	if end, err := io.ReadAll(rest); err != nil || string(end) != fmt.Sprintf("\",\"size\":%d}\n", size) {
		t.Errorf("dead line ends %q, %v", end, err)
	}
	// Without a file, and at the end of the input.
	got, err = (&Stream{Runner: r}).Run(t.Context(), io.LimitReader(repeat("y"), 40<<20), io.Discard)
	if err != nil || got.Logs != 1 || got.Undecodable != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// The longest line goes through, and a log that a node would refuse is counted.
func TestStreamLargeLogs(t *testing.T) {
	r, _ := open(t, workDir(t, plain1), nil)
	small, large := strings.Repeat("s", 60<<10), strings.Repeat("l", maxLine)
	raw := func(line []byte) (*pb.Log, []string, error) {
		return &pb.Log{Id: "1", DataType: "raw", Raw: string(line[:min(len(line), 15<<20)])}, nil, nil
	}
	in := strings.NewReader(small + "\n" + large + "\n" + small + "\n")
	got, err := (&Stream{Runner: r, Decode: raw}).Run(t.Context(), in, io.Discard)
	if err != nil || got.Events != 3 || got.TooLarge != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

type repeat string

func (r repeat) Read(b []byte) (int, error) {
	n := copy(b, r)
	for n < len(b) {
		n += copy(b[n:], b[:n])
	}
	return n, nil
}

// Whoever waits for the event of a log gets it before the next log.
func TestStreamInteractive(t *testing.T) {
	r, _ := open(t, workDir(t, plain1), nil)
	in, feed := io.Pipe()
	events, out := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := (&Stream{Runner: r}).Run(t.Context(), in, out)
		out.Close()
		done <- err
	}()
	lines := bufio.NewScanner(events)
	for i := range 3 {
		if _, err := io.WriteString(feed, jsonLog(fmt.Sprint(i), "{}")); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || gjson.Get(lines.Text(), "id").String() != fmt.Sprint(i) {
			t.Fatalf("event %d: %s, %v", i, lines.Text(), lines.Err())
		}
	}
	feed.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// When it is told to stop, it finishes what it has read.
func TestStreamStops(t *testing.T) {
	dir := workDir(t, "pipeline: [{dataTypes: [json], steps: [{dynamic: {plugin: p}}]}]")
	p := plugintest.Start(t, filepath.Join(dir, "sockets"), plugin.Parsing, "p", plugintest.Script{Delay: 200 * time.Millisecond, Only: "finish"})
	r, _ := open(t, dir, nil)
	for _, tt := range []struct {
		raw    string
		script plugintest.Script
		want   Summary
	}{
		{"finish", plugintest.Script{Delay: 200 * time.Millisecond}, Summary{Logs: 1, Events: 1}},
		{"hang", plugintest.Script{Hang: true}, Summary{Logs: 1, Unfinished: 1}},
	} {
		p.SetScript(tt.script)
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		calls := p.Calls()
		if _, err := io.WriteString(write, jsonLog("1", tt.raw)); err != nil {
			t.Fatal(err)
		}
		go func() {
			for p.Calls() == calls {
				runtime.Gosched()
			}
			cancel()
		}()
		got, err := (&Stream{Runner: r}).Run(ctx, read, io.Discard)
		got.Seconds, got.Missed = 0, nil
		if !errors.Is(err, context.Canceled) || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %+v, %v", tt.raw, got, err)
		}
		write.Close()
		read.Close()
	}
}

type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.New("full")
	}
	return len(b), nil
}

// An output or a dead file that cannot be written ends it, and so does an input
// that breaks.
func TestStreamFails(t *testing.T) {
	r, _ := open(t, workDir(t, plain1), nil)
	endless := func() io.Reader { return repeat(jsonLog("1", "{}")) }
	if _, err := (&Stream{Runner: r}).Run(t.Context(), endless(), &failing{1 << 20}); err == nil || !strings.HasPrefix(err.Error(), "write events: ") {
		t.Errorf("output: %v", err)
	}
	s := Stream{Runner: r, Dead: &failing{1 << 20}}
	if _, err := s.Run(t.Context(), repeat("bad\n"), io.Discard); err == nil || !strings.HasPrefix(err.Error(), "keep a dead line: ") {
		t.Errorf("dead lines: %v", err)
	}
	s = Stream{Runner: r, Dead: &failing{1 << 20}, limit: 1000}
	if _, err := s.Run(t.Context(), repeat("bad"), io.Discard); err == nil || !strings.HasPrefix(err.Error(), "keep a dead line: ") {
		t.Errorf("a long dead line: %v", err)
	}
	broken := io.MultiReader(strings.NewReader(jsonLog("1", "{}")), brokenReader{})
	got, err := (&Stream{Runner: r}).Run(t.Context(), broken, io.Discard)
	if err == nil || err.Error() != "read logs: broken" || got.Events != 1 {
		t.Errorf("input: %+v, %v", got, err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }
