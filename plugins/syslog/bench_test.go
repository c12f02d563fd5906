package syslog

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
)

// Messages over one TCP connection to an engine that acks and forgets them, from
// the first byte to the close that says all is stored, in turns with a bare
// listener: bufio.Scanner and the kit's Send, without source or identity.
//
//	go test ./plugins/syslog -run '^$' -bench TCP -benchtime 5x
func BenchmarkTCP(b *testing.B) {
	const n = 100_000
	sink := enginetest.NewSink(b, shortdir.New(b))
	out := new(logbuffer.Buffer)
	i := plugins.Instance{Name: "s", Dir: sink.Dir, Logger: plugins.NewLogger("s", out), Config: parse(`{"listeners":[{"listen":"127.0.0.1:0","network":"tcp"}]}`)}
	r, err := New(i)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for len(out.Lines("listening")) == 0 {
		<-time.After(time.Millisecond)
	}
	addr := out.Lines("listening")[0].Get("address").String()
	bareAddr, stop := bareTCP(b, i)
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "<13>1 2026-11-26T10:00:00.%06dZ host app - - - message %d %s\n", i, i, strings.Repeat("x", 60))
	}
	var whole, bare time.Duration
	for b.Loop() {
		for at, sum := range map[string]*time.Duration{addr: &whole, bareAddr: &bare} {
			began := time.Now()
			c, err := net.Dial("tcp", at)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.WriteString(c, text.String()); err != nil {
				b.Fatal(err)
			}
			c.(*net.TCPConn).CloseWrite()
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				b.Fatal(err)
			}
			c.Close()
			*sum += time.Since(began)
		}
	}
	if got := sink.Count.Load(); got != int64(2*b.N*n) {
		b.Fatalf("%d messages came", got)
	}
	cancel()
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N*n)/whole.Seconds(), "messages/s")
	b.ReportMetric(float64(b.N*n)/bare.Seconds(), "bare-messages/s")
	b.ReportMetric(bare.Seconds()/whole.Seconds(), "of-bare")
}

func bareTCP(b *testing.B, i plugins.Instance) (addr string, stop func()) {
	b.Helper()
	in, err := plugins.NewInput(i.Sender())
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for s := bufio.NewScanner(c); s.Scan(); {
				if err := in.Send(context.Background(), &plugins.Log{DataType: "syslog", Raw: s.Text()}); err != nil {
					b.Error(err)
				}
			}
			if err := in.Flush(context.Background()); err != nil {
				b.Error(err)
			}
			c.Close()
		}
	}()
	return l.Addr().String(), func() { l.Close(); <-done; _ = in.Close(context.Background()) }
}
