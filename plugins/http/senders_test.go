package httpin

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// needs skips where a program is not installed.
func needs(t *testing.T, program, debian string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("no %s: nothing to send with (Debian: %s)", program, debian)
	return ""
}

// eachOnce checks that all of n numbered texts are stored, whatever came twice.
func eachOnce(t *testing.T, w *world, n int, text func(string) string) {
	t.Helper()
	seen := map[string]bool{}
	w.Wait(t, fmt.Sprintf("%d records", n), func() bool {
		for _, raw := range w.Raws() {
			seen[text(raw)] = true
		}
		return len(seen) >= n
	})
	for i := range n {
		if !seen[fmt.Sprintf("record %d", i)] {
			t.Fatalf("record %d is not there, of %d", i, len(seen))
		}
	}
}

func same(s string) string { return s }

func TestCurl(t *testing.T) {
	curl := needs(t, "curl", "curl")
	dir := t.TempDir()
	token := writeFile(t, dir, "token", "curl-token-0123456789")
	header := writeFile(t, dir, "header", "Authorization: Bearer curl-token-0123456789\nContent-Type: text/plain\nIdempotency-Key: from-curl\n")
	var lines bytes.Buffer
	for i := range 20_000 { // so many that curl asks before it sends
		fmt.Fprintf(&lines, "record %d\n", i)
	}
	file := writeFile(t, dir, "lines", lines.String())
	zipped := writeFile(t, dir, "lines.gz", string(packed(t, "gzip", lines.Bytes())))
	w := run(t, with("", fmt.Sprintf(`"tokens":[{"file":%q}]`, token)))
	send := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--max-time", "60", "-H", "@" + header, w.url + "/logs"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return string(out)
	}
	if got := send("--data-binary", "@"+file, "-H", "Expect: 100-continue"); got != `{"stored":20000}`+"\n" {
		t.Errorf("curl: %s", got)
	}
	eachOnce(t, w, 20_000, same)
	if got := send("--data-binary", "@"+zipped, "-H", "Content-Encoding: gzip"); !strings.Contains(got, `"repeated":true`) {
		t.Errorf("curl again, compressed: %s", got)
	}
	if n := len(w.Received()); n != 20_000 {
		t.Errorf("%d logs", n)
	}
}

// syslog-ng batches lines of a file, and sends again what the node was too slow
// for.
func TestSyslogNG(t *testing.T) {
	program := needs(t, "syslog-ng", "syslog-ng-core syslog-ng-mod-http")
	dir := t.TempDir()
	token := writeFile(t, dir, "token", "syslog-ng-token-0123456789")
	w := run(t, with("", fmt.Sprintf(`"tokens":[{"file":%q}],"storeTimeout":"300ms"`, token)))
	var lines strings.Builder
	const n = 3000
	for i := range n {
		fmt.Fprintf(&lines, "record %d\n", i)
	}
	in := writeFile(t, dir, "in.log", lines.String())
	conf := writeFile(t, dir, "conf", fmt.Sprintf(`@version: 3.38
options { stats-freq(0); };
source s { file("%s" flags(no-parse) follow-freq(1)); };
destination d { http(url("%s/logs") method("POST") headers("Content-Type: text/plain", "Authorization: Bearer syslog-ng-token-0123456789")
  body("${MESSAGE}") delimiter("\n") batch-lines(100) batch-timeout(100) workers(2) retries(1000) time-reopen(1)); };
log { source(s); destination(d); flags(flow-control); };
`, in, w.url))
	w.Hold(true)
	cmd := exec.CommandContext(t.Context(), program, "-F", "--no-caps", "-f", conf, "-R", dir+"/persist", "-p", dir+"/pid", "-c", dir+"/control", "--stderr")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() || t.Skipped() {
			t.Log(out.String())
		}
	}()
	w.Wait(t, "an answer that not all is stored", func() bool { return w.server.counts.late.Load() > 0 })
	w.Hold(false)
	eachOnce(t, w, n, same)
}

// The SDK of OpenTelemetry, over protobuf and gzip, with a node that is too slow
// at first.
func TestOpenTelemetrySDK(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/sender", ".")
	build.Dir = filepath.Join("testdata", "otelsender")
	build.Env = append(os.Environ(), "GOFLAGS=-trimpath")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the OpenTelemetry SDK cannot be had from the module proxy: %v: %.300s", err, out)
	}
	token := writeFile(t, dir, "token", "otel-token-0123456789")
	w := run(t, with(`"paths":[{"path":"/v1/logs","format":"otlp","sameBody":true}]`, fmt.Sprintf(`"tokens":[{"file":%q}],"storeTimeout":"300ms","retryAfter":"1s"`, token)))
	w.Hold(true)
	const n = 1000
	cmd := exec.CommandContext(t.Context(), dir+"/sender", w.url+"/v1/logs", fmt.Sprint(n))
	cmd.Env = append(os.Environ(), "TOKEN=otel-token-0123456789", "OTEL_SERVICE_NAME=shop")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Wait(t, "an answer that not all is stored", func() bool { return w.server.counts.late.Load() > 0 })
	w.Hold(false)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, out.String())
	}
	eachOnce(t, w, n, func(raw string) string { return gjson.Get(raw, "body").String() })
	if got := len(w.Stored()); got != n {
		t.Errorf("%d logs of %d records: a request that was sent again gave others", got, n)
	}
	l := w.Stored()[0]
	if gjson.Get(l.Raw, `resource.service\.name`).String() != "shop" || l.DataSource != "shop" || gjson.Get(l.Raw, "scope.name").String() != "otelsender" || gjson.Get(l.Raw, "severityText").Exists() || gjson.Get(l.Raw, "attributes.list.1").String() != "y" {
		t.Errorf("log: %v", l)
	}
}
