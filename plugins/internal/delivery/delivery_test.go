package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"text/template"
	"time"
	"unicode/utf8"

	pb "github.com/epmesh/epmesh/proto"
)

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Content
	}{
		{"plain\ntext", Content{Title: "incidents", Summary: "plain text"}},
		{
			`{"summary":"S","name":"N","severity":"High","adversary":{"ip":"192.0.2.1"},"target":{"host":"web"},"alerts":3,"tenantId":"t"}`,
			Content{Title: "N", Summary: "S", Severity: "high", Adversary: "192.0.2.1", Target: "web", Count: "3", Tenant: "t"},
		},
		{`{"title":"T","name":"N","count":12345678901234567890,"adversary":"a","events":[1,2]}`, Content{Title: "T", Adversary: "a", Count: "12345678901234567890"}},
		{`{"name":7,"severity":null,"adversary":[],"events":[1,2]}`, Content{Title: "7", Count: "2"}},
		{`{"broken"`, Content{Title: "incidents", Summary: `{"broken"`}},
		{`{} {}`, Content{Title: "incidents", Summary: `{} {}`}},
		{`[1]`, Content{Title: "incidents", Summary: "[1]"}},
	} {
		got := Read(&pb.Message{Id: "1", Topic: "incidents", Message: tt.text})
		got.ID, got.Topic, got.Text, got.Body, got.JSON = "", "", "", nil, nil
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.text, got, tt.want)
		}
	}
	if got := Read(&pb.Message{Topic: "x", Message: `{"name":"N","severity":"low","adversary":{"ip":"a"},"target":{"user":"b"}}`}).Line(); got != "LOW N from a against b" {
		t.Errorf("line: %s", got)
	}
}

func TestRank(t *testing.T) {
	for name, want := range map[string]int{"": 0, "other": 0, "INFO": 1, "low": 2, "Warning": 3, "high": 4, "critical": 5} {
		if got := Rank(name); got != want {
			t.Errorf("%q: %d", name, got)
		}
	}
}

func TestFunctions(t *testing.T) {
	c := Read(&pb.Message{Id: "1", Topic: "t", Message: `{"a":{"b":[{"c":"x\"y"}]},"n":1.50,"l":["p","q"]}`})
	for text, want := range map[string]string{
		`{{json (get "a.b.0.c" .Body)}}`:       `"x\"y"`,
		`{{json (get "a.b.9.c" .Body)}}`:       `null`,
		`{{json (get "a.b.-1" .Body)}}`:        `null`,
		`{{.Body.n}}`:                          `1.50`,
		`{{default "none" .Body.missing}}`:     `none`,
		`{{default "none" .Severity | upper}}`: `NONE`,
		`{{join ", " .Body.l}}`:                `p, q`,
		`{{cut 4 "abcdefgh"}}`:                 "a…",
		`{{lower "ABC" | trim}}`:               `abc`,
		`{{line "a\nb"}}`:                      `a b`,
	} {
		tmpl := template.Must(template.New("").Funcs(Functions()).Parse(text))
		got, err := Execute(100, func(out *Bounded) error { return tmpl.Execute(out, c) })
		if err != nil || string(got) != want {
			t.Errorf("%s: %q %v", text, got, err)
		}
	}
	endless := template.Must(template.New("").Parse(`{{range 1000000}}x{{end}}`))
	if _, err := Execute(100, func(out *Bounded) error { return endless.Execute(out, c) }); !errors.Is(err, ErrTooLong) {
		t.Errorf("endless: %v", err)
	}
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := NewOnce(2)
		var runs atomic.Int32
		release := make(chan error)
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				_ = o.Do(t.Context(), KeyOf("1", "t"), func() error { runs.Add(1); return <-release })
			})
		}
		synctest.Wait()
		if runs.Load() != 1 {
			t.Errorf("%d at once", runs.Load())
		}
		release <- errors.New("failed") // then another tries
		synctest.Wait()
		release <- nil
		calls.Wait()
		if runs.Load() != 2 || !o.Has(KeyOf("1", "t")) || o.Has(KeyOf("1", "other")) {
			t.Errorf("%d runs", runs.Load())
		}
		for i := range 5 {
			o.Add(KeyOf(fmt.Sprint(i), "x"))
		}
		if len(o.done) != 2 || o.Has(KeyOf("1", "t")) || !o.Has(KeyOf("4", "x")) || !o.Has(KeyOf("3", "x")) {
			t.Errorf("kept %d", len(o.done))
		}
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate()
		start := time.Now()
		a, _ := g.Enter(t.Context())
		b, _ := g.Enter(t.Context())
		<-time.After(time.Millisecond)
		g.Leave(a, true, 0)
		g.Leave(b, true, 0) // began before it was known
		if g.fails != 1 || !g.Silent(start) {
			t.Errorf("%d fails", g.fails)
		}
		// Only one goes through, and the rest once it has succeeded.
		var in atomic.Int32
		var all sync.WaitGroup
		release := make(chan struct{})
		for range 5 {
			all.Go(func() {
				began, err := g.Enter(t.Context())
				if err != nil {
					t.Error(err)
				}
				in.Add(1)
				<-release
				g.Leave(began, false, 0)
			})
		}
		<-time.After(time.Second)
		if in.Load() != 1 {
			t.Errorf("%d go through while the target fails", in.Load())
		}
		close(release)
		all.Wait()
		if g.Silent(start) || g.fails != 0 {
			t.Error("a success is not seen")
		}
		// What was given up here says nothing, and lets the next one try.
		if _, err := g.Enter(t.Context()); err != nil {
			t.Error(err)
		}
		g.Abandon()
		if g.Failing() {
			t.Error("a call that was given up is a failure")
		}
		// A pause that the target asks for is kept, up to a bound.
		began, _ := g.Enter(t.Context())
		g.Leave(began, true, 30*time.Second)
		at := time.Now()
		if began, _ = g.Enter(t.Context()); time.Since(at) != 30*time.Second {
			t.Errorf("waited %s", time.Since(at))
		}
		g.Leave(began, true, 100*time.Hour)
		at = time.Now()
		if began, _ = g.Enter(t.Context()); time.Since(at) != maxAsked {
			t.Errorf("waited %s", time.Since(at))
		}
		for range 20 {
			g.Leave(began, true, 0)
			at = time.Now()
			began, _ = g.Enter(t.Context())
			if d := time.Since(at); d > maxPause {
				t.Errorf("waited %s", d)
			}
		}
		g.Leave(began, true, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := g.Enter(ctx); err == nil {
			t.Error("entered in the pause")
		}
	})
}

func TestSecretsAndTLS(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if s, err := ReadSecret(put("a", " secret\n")); err != nil || s != "secret" {
		t.Errorf("%q %v", s, err)
	}
	for _, path := range []string{put("empty", " \n"), put("two", "a\nb"), put("big", strings.Repeat("x", maxFile+1)), dir, filepath.Join(dir, "none")} {
		if _, err := ReadSecret(path); err == nil || strings.Contains(err.Error(), "a\nb") {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, c := range []TLS{{CA: put("x.pem", "no pem")}, {Cert: "x"}, {Cert: put("c", ""), Key: put("k", "")}, {CA: "/none"}} {
		if _, err := c.Config(); err == nil || !strings.HasPrefix(err.Error(), "tls") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{"", "x", `{"name":"a","adversary":{"ip":"b"}}`, `[[[`, `{"severity":{"a":1},"count":[1]}`, "\xff\x00\u2028"} {
		f.Add("id", "topic", text)
	}
	tmpl := template.Must(template.New("").Funcs(Functions()).Parse(
		`{"a":{{json .Title}},"b":{{json .JSON}},"c":{{json (get "a.0.b" .JSON)}},"d":{{json (cut 10 .Text)}},"e":{{json (default "x" .Body)}}}`))
	f.Fuzz(func(t *testing.T, id, topic, text string) {
		c := Read(&pb.Message{Id: id, Topic: topic, Message: text})
		for _, s := range []string{c.Title, c.Line(), c.Severity, c.Adversary, c.Target, c.Count, c.Incident} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") || len(s) > 2000 {
				t.Errorf("%q", s)
			}
		}
		if !utf8.ValidString(c.Text) || !utf8.ValidString(c.Indented()) {
			t.Error("not UTF-8")
		}
		if _, err := Execute(1<<20, func(out *Bounded) error { return tmpl.Execute(out, c) }); err != nil && !errors.Is(err, ErrTooLong) {
			t.Error(err)
		}
	})
}
