package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The archives hold epmesh.yaml, env and flags; want is the report and what
// differs from the defaults.
func TestSettingsGolden(t *testing.T) {
	golden(t, "testdata/settings/*.txtar", func(t *testing.T, dir string) string {
		var b strings.Builder
		src := Sources{
			Dir:     dir,
			Environ: lines(filepath.Join(dir, "env")),
			Lookup: func(name string) (string, bool) {
				return lookup(lines(filepath.Join(dir, "env")), name)
			},
			Override: func(s *Settings) {
				given := lines(filepath.Join(dir, "flags"))
				for f := range fields(s) {
					if v, ok := lookup(given, f.path); ok {
						f.set(v)
					}
				}
			},
			Warn: func(p Problem) { fmt.Fprintln(&b, p) },
		}
		s, err := LoadSettings(src)
		if err != nil {
			fmt.Fprintln(&b, err)
			return b.String()
		}
		b.WriteByte('\n')
		defaults := Defaults()
		was := make(map[string]string)
		for f := range fields(&defaults) {
			was[f.path] = f.text()
		}
		shown := s.Redacted()
		for f := range fields(&shown) {
			if f.text() != was[f.path] {
				fmt.Fprintf(&b, "%s = %q\n", f.path, f.text())
			}
		}
		return strings.ReplaceAll(b.String(), dir, "DIR")
	})
}

func lines(path string) []string {
	data, _ := os.ReadFile(path)
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func lookup(list []string, name string) (string, bool) {
	for _, line := range list {
		if k, v, ok := strings.Cut(line, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func TestDefaultsAreValid(t *testing.T) {
	s, err := LoadSettings(Sources{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Dir = s.Dir
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("without sources (-defaults +got):\n%s", diff)
	}
}

// Each setting can be given by its variable and, where it has one, by the
// ecosystem's.
func TestEverySettingFromEnvironment(t *testing.T) {
	valid := map[string]string{
		"node": "n", "groups": "a,b", "mode": "worker", "default_tenant": "t",
		"log.level": "debug", "log.format": "json", "http.listen": "[::1]:0",
		"nats.url": "tls://h:1", "nats.credentials": "FILE", "nats.context": "FILE", "nats.replicas": "3",
		"nats.durability": "crash,power-loss", "nats.external_sync": "always",
		"nats.listen": ":4333", "nats.sync": "5s", "nats.max_payload": "16MiB", "nats.max_store": "1GiB", "nats.duplicate_window": "1m0s",
		"nats.tls.ca": "FILE", "nats.tls.cert": "FILE", "nats.tls.key": "FILE",
		"nats.cluster.name": "c", "nats.cluster.listen": "127.0.0.1:6222", "nats.cluster.advertise": "n1:6222", "nats.cluster.routes": "n1:6222,n2:6222",
		"nats.cluster.tls.ca": "FILE", "nats.cluster.tls.cert": "FILE", "nats.cluster.tls.key": "FILE", "nats.cluster.insecure": "true",
		"nats.leaf.url": "tls://h:7422", "nats.leaf.credentials": "FILE", "nats.leaf.insecure": "true",
		"nats.edges.listen": "127.0.0.1:7422", "nats.edges.users": "FILE", "nats.edges.insecure": "true",
		"nats.edges.tls.ca": "FILE", "nats.edges.tls.cert": "FILE", "nats.edges.tls.key": "FILE",
		"nats.leaf.tls.ca": "FILE", "nats.leaf.tls.cert": "FILE", "nats.leaf.tls.key": "FILE",
		"input.max_log": "2KiB", "input.max_buffered": "1GiB",
		"pipeline.keep_underscores": "false",
		"stages.batch_items":        "1", "stages.batch_bytes": "1KiB", "stages.attempts": "9", "stages.ack_wait": "1s",
		"plugins.in_flight": "1", "plugins.call_timeout": "1s", "plugins.max_message": "16MiB", "plugins.lane": "false", "plugins.stop_grace": "1s",
		"plugins.restart_min": "1s", "plugins.restart_max": "1m0s",
	}
	dir := t.TempDir()
	valid["work_dir"] = dir
	put(t, filepath.Join(dir, "creds"), "x")
	names := make(map[string]string)
	defaults := Defaults()
	for f := range fields(&defaults) {
		value, ok := valid[f.path]
		if !ok {
			t.Errorf("no test value for %s", f.path)
		}
		value = strings.ReplaceAll(value, "FILE", filepath.Join(dir, "creds"))
		for _, name := range f.env() {
			if other, twice := names[name]; twice {
				t.Errorf("%s is the variable of %s and of %s", name, other, f.path)
			}
			names[name] = f.path
			vars := map[string]string{name: value, "WORK_DIR": dir}
			switch f.path {
			case "nats.replicas", "nats.credentials", "nats.tls.ca", "nats.external_sync":
				vars["NATS_URL"] = "nats://h"
			case "nats.tls.cert", "nats.tls.key":
				vars["NATS_URL"] = "nats://h"
				vars["EPMESH_NATS_TLS_CERT"], vars["EPMESH_NATS_TLS_KEY"] = value, value
			default:
				if strings.HasPrefix(f.path, "nats.cluster.") {
					for _, set := range []string{"LISTEN=127.0.0.1:6222", "ROUTES=n1:6222,n2:6222", "INSECURE=true"} {
						key, text, _ := strings.Cut(set, "=")
						vars["EPMESH_NATS_CLUSTER_"+key] = text
					}
				}
				if strings.HasPrefix(f.path, "nats.edges.") {
					vars["EPMESH_NATS_EDGES_LISTEN"] = "127.0.0.1:7422"
					vars["EPMESH_NATS_EDGES_USERS"] = filepath.Join(dir, "creds")
				}
				if strings.HasPrefix(f.path, "nats.edges.tls.") {
					vars["EPMESH_NATS_EDGES_TLS_CERT"], vars["EPMESH_NATS_EDGES_TLS_KEY"] = value, value
				}
				if strings.HasPrefix(f.path, "nats.leaf.") {
					vars["EPMESH_NATS_LEAF_URL"] = "tls://h:7422"
				}
				if strings.HasPrefix(f.path, "nats.leaf.tls.") {
					vars["EPMESH_NATS_LEAF_TLS_CERT"], vars["EPMESH_NATS_LEAF_TLS_KEY"] = value, value
				}
				if strings.HasPrefix(f.path, "nats.cluster.tls.") {
					for _, key := range []string{"CA", "CERT", "KEY"} {
						vars["EPMESH_NATS_CLUSTER_TLS_"+key] = value
					}
				}
			}
			vars[name] = value
			s, err := LoadSettings(Sources{Lookup: environment(vars)})
			if err != nil {
				t.Errorf("%s=%s: %v", name, value, err)
				continue
			}
			for got := range fields(&s) {
				if got.path == f.path && got.text() != value {
					t.Errorf("%s=%s gave %s", name, value, got.text())
				}
			}
		}
	}
}

func TestWorkDir(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "flag", "epmesh.yaml"), "node: flag")
	put(t, filepath.Join(dir, "env", "epmesh.yaml"), "node: env")
	put(t, filepath.Join(dir, "else", "my.yaml"), "node: file\nwork_dir: sub")
	put(t, filepath.Join(dir, "same", "epmesh.yaml"), "node: same\nwork_dir: .")
	env := environment(map[string]string{"WORK_DIR": filepath.Join(dir, "env")})
	for name, test := range map[string]struct {
		src       Sources
		dir, node string
	}{
		"flag before environment": {Sources{Dir: filepath.Join(dir, "flag"), Lookup: env}, "flag", "flag"},
		"environment":             {Sources{Lookup: env}, "env", "env"},
		"named file":              {Sources{File: filepath.Join(dir, "else", "my.yaml")}, "else/sub", "file"},
		"named file, environment": {Sources{File: filepath.Join(dir, "else", "my.yaml"), Lookup: env}, "env", "file"},
		"file names its folder":   {Sources{Dir: filepath.Join(dir, "same")}, "same", "same"},
	} {
		s, err := LoadSettings(test.src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := filepath.Join(dir, test.dir); s.Dir != want || s.Node != test.node {
			t.Errorf("%s: dir %s, node %s; want %s, %s", name, s.Dir, s.Node, want, test.node)
		}
	}

	t.Chdir(dir)
	if got := defaultDir(filepath.Join(dir, "none")); got != filepath.Join(dir, "workdir") {
		t.Errorf("default dir = %s", got)
	}
	if got := defaultDir(dir); got != dir {
		t.Errorf("default dir = %s where the shared one exists", got)
	}
	put(t, filepath.Join(dir, "workdir", "epmesh.yaml"), "work_dir: /somewhere/else")
	if _, err := os.Stat("/workdir"); err != nil {
		if _, err := LoadSettings(Sources{}); err == nil || !strings.Contains(err.Error(), "names another work dir") {
			t.Errorf("err = %v, want one of the contradiction", err)
		}
	}
	s, err := LoadSettings(Sources{Dir: "relative"})
	if err != nil || s.Dir != filepath.Join(dir, "relative") {
		t.Errorf("relative dir became %s: %v", s.Dir, err)
	}
	if s.PipelineDir() != filepath.Join(s.Dir, "pipeline") || s.SocketDir() != filepath.Join(s.Dir, "sockets") ||
		s.PluginDir() != filepath.Join(s.Dir, "plugins") || s.RulesDir() != filepath.Join(s.Dir, "rules") {
		t.Error("the folders are not the ecosystem's")
	}
}

func TestSettingsFileMustBeThereIfNamed(t *testing.T) {
	_, err := LoadSettings(Sources{Dir: t.TempDir(), File: "none.yaml"})
	var report *ReportError
	if !errors.As(err, &report) || len(report.Report) != 1 || report.Report[0].Position.File != "none.yaml" {
		t.Errorf("err = %v, want one of none.yaml", err)
	}
}

func TestSocketPaths(t *testing.T) {
	for length, want := range map[int]string{56: "", 57: "warning", 72: "warning", 73: "error"} {
		dir := "/" + strings.Repeat("d", length-1)
		var warned []string
		_, err := LoadSettings(Sources{Dir: dir, Warn: func(p Problem) { warned = append(warned, p.String()) }})
		if got := err != nil; got != (want == "error") {
			t.Errorf("%d bytes: %v", length, err)
		}
		if got := len(warned) > 0; got != (want == "warning") {
			t.Errorf("%d bytes: warnings %q", length, warned)
		}
	}
	// The limit itself.
	name := filepath.Join("/"+strings.Repeat("d", 55), "sockets", "com.utmstack.geolocation_notification.sock")
	if len(name) != maxSocketPath {
		t.Errorf("the longest path that passes without a word has %d bytes, want %d", len(name), maxSocketPath)
	}
}

func TestLogLevel(t *testing.T) {
	for text, want := range map[string]string{
		"1": "trace", "100": "debug", "199": "debug", "200": "info", "300": "warn", "400": "error", "500": "error",
		"INFO": "info", "Warning": "warn", "critical": "error", "trace": "trace", "-1": "", "loud": "", "": "",
	} {
		if got, ok := levelName(text); got != want || ok != (want != "") {
			t.Errorf("levelName(%q) = %q, %t; want %q", text, got, ok, want)
		}
	}
	for _, level := range []string{"trace", "debug", "info", "warn", "error"} {
		n := Log{Level: level}.Number()
		if got, _ := levelName(fmt.Sprint(n)); got != level {
			t.Errorf("%s is %d, which is %s", level, n, got)
		}
	}
	if n := (Log{Level: "info"}).Number(); n != 200 {
		t.Errorf("info is %d, want the ecosystem's default", n)
	}
}

func TestRedacted(t *testing.T) {
	for url, want := range map[string]string{
		"":                                 "",
		"nats://host:4222":                 "nats://host:4222",
		"nats://user:secret@host":          "nats://user:xxxxx@host",
		"nats://secret@host":               "nats://xxxxx@host",
		"nats://a, nats://user:secret@b:1": "nats://a,nats://user:xxxxx@b:1",
		"nats://user:sec/ret@host":         "xxxxx",
		"user:secret@host":                 "xxxxx",
		"nats://user:secret,secret@host":   "xxxxx",
		"nats://user:1secret,2@host":       "xxxxx",
		"nats://user:secret@host:port":     "xxxxx",
	} {
		s := Settings{NATS: NATS{URL: url}}
		if got := s.Redacted().NATS.URL; got != want {
			t.Errorf("%q became %q, want %q", url, got, want)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			for _, v := range []any{s, &s, s.NATS, struct{ S Settings }{s}} {
				if text := fmt.Sprintf(verb, v); strings.Contains(text, "secret") {
					t.Errorf("%s of %T tells the secret: %s", verb, v, text)
				}
			}
		}
	}
}

func TestReadableSecretIsWarnedOf(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "epmesh.yaml")
	put(t, path, "nats: {url: 'nats://u:p@h'}")
	for mode, want := range map[os.FileMode]int{0o644: 1, 0o600: 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var warned []Problem
		if _, err := LoadSettings(Sources{Dir: dir, Warn: func(p Problem) { warned = append(warned, p) }}); err != nil {
			t.Fatal(err)
		}
		if len(warned) != want {
			t.Errorf("mode %o: warnings %v", mode, warned)
		}
	}
}

// The documentation lists each setting with its variables and its default.
func TestDocumentation(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| (.*?) \\| (.*?) \\| .+ \\|$")
	cell := regexp.MustCompile("`([^`]*)`")
	type entry struct {
		env   []string
		value string
	}
	documented := make(map[string]entry)
	for _, m := range row.FindAllStringSubmatch(string(data), -1) {
		e := entry{value: m[3]}
		for _, name := range cell.FindAllStringSubmatch(m[2], -1) {
			e.env = append(e.env, name[1])
		}
		if c := cell.FindStringSubmatch(m[3]); c != nil && c[0] == m[3] {
			e.value = c[1]
		}
		documented[m[1]] = e
	}
	defaults := Defaults()
	for f := range fields(&defaults) {
		e, ok := documented[f.path]
		if !ok {
			t.Errorf("docs/configuration.md does not list %s", f.path)
			continue
		}
		delete(documented, f.path)
		if !slices.Equal(e.env, f.env()) {
			t.Errorf("%s: documented variables %q, want %q", f.path, e.env, f.env())
		}
		want := f.text()
		switch f.path {
		case "work_dir", "node":
			continue // they depend on the machine
		}
		if d, is := f.value.Interface().(time.Duration); is {
			if got, err := time.ParseDuration(e.value); err != nil || got != d {
				t.Errorf("%s: documented default %q, want %s", f.path, e.value, want)
			}
		} else if e.value != want && !(e.value == "none" && want == "") {
			t.Errorf("%s: documented default %q, want %q", f.path, e.value, want)
		}
	}
	for path := range documented {
		t.Errorf("docs/configuration.md lists %s, which is no setting", path)
	}
}

// The example states the defaults, so that it can be taken as it is.
func TestExample(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join("..", "docs", "epmesh.example.yaml")
	s, err := LoadSettings(Sources{File: path, Dir: dir, Warn: func(p Problem) { t.Error(p) }})
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Dir, want.Node = dir, "edge-1"
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("the example differs from the defaults (-want +got):\n%s", diff)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for f := range fields(&want) {
		key := f.path[strings.LastIndex(f.path, ".")+1:]
		if !regexp.MustCompile(`(?m)^ *(# )?` + key + `:`).Match(data) {
			t.Errorf("the example does not show %s", f.path)
		}
	}
}
