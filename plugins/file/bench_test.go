package file

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

// Lines of a file to an engine that acks and forgets them, in turns with a bare
// loop over bufio.Scanner and the kit's Send, which keeps no position:
//
//	go test ./plugins/file -run '^$' -bench Lines -benchtime 5x
func BenchmarkLines(b *testing.B) {
	for name, more := range map[string]string{
		"single":    "",
		"multiline": `,"multiline":{"start":"^line"}`,
	} {
		b.Run(name, func(b *testing.B) { benchLines(b, more) })
	}
}

func benchLines(b *testing.B, more string) {
	const n = 100_000
	sink := enginetest.NewSink(b, shortdir.New(b))
	path := filepath.Join(b.TempDir(), "a.log")
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "line %d %s\n", i, strings.Repeat("x", 100))
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	var whole, bare time.Duration
	for b.Loop() {
		began := time.Now()
		os.RemoveAll(filepath.Join(sink.Dir, "state"))
		i := plugins.Instance{Name: "files", Dir: sink.Dir, Logger: hclog.NewNullLogger(), Config: gjson.Parse(fmt.Sprintf(`{"paths":[%q],"follow":false%s}`, path, more))}
		r, err := New(i)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Run(context.Background()); err != nil {
			b.Fatal(err)
		}
		whole += time.Since(began)
		began = time.Now()
		if err := bareLines(i, path); err != nil {
			b.Fatal(err)
		}
		bare += time.Since(began)
	}
	if got := sink.Count.Load(); got != int64(2*b.N*n) {
		b.Fatalf("%d lines came", got)
	}
	b.ReportMetric(float64(b.N*n)/whole.Seconds(), "lines/s")
	b.ReportMetric(float64(b.N*n)/bare.Seconds(), "bare-lines/s")
	b.ReportMetric(bare.Seconds()/whole.Seconds(), "of-bare")
}

func bareLines(i plugins.Instance, path string) error {
	in, err := plugins.NewInput(i.Sender())
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if err := in.Send(context.Background(), &plugins.Log{DataType: "generic", Raw: s.Text()}); err != nil {
			return err
		}
	}
	return in.Close(context.Background())
}
