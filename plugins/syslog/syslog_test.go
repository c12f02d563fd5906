package syslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/tidwall/gjson"
)

type world struct {
	*enginetest.Engine
	out    *logbuffer.Buffer
	server *server
	stop   func()
}

// run starts the plugin and returns the addresses it announces, by network.
func run(t *testing.T, settings string) (*world, map[string]string) {
	t.Helper()
	w := &world{Engine: enginetest.New(t, shortdir.New(t)), out: new(logbuffer.Buffer)}
	r, err := New(plugins.Instance{Name: "syslog", Dir: w.Dir, Host: "this-host", Logger: plugins.NewLogger("syslog", w.out), Config: gjson.Parse(settings)})
	if err != nil {
		t.Fatal(err)
	}
	w.server = r.(*server)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	want := len(w.server.Listeners)
	w.Wait(t, "addresses", func() bool { return len(w.out.Lines("listening")) == want })
	addrs := map[string]string{}
	for _, line := range w.out.Lines("listening") {
		if line.Get("@level").String() != "info" {
			t.Errorf("level: %v", line)
		}
		addrs[line.Get("network").String()] = line.Get("address").String()
	}
	return w, addrs
}

const both = `{"tenant":"t","listeners":[
	{"listen":"127.0.0.1:0","network":"udp","dataType":"net"},
	{"listen":"127.0.0.1:0","network":"tcp","dataType":"app"}]%s}`

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestUDPAndTCP(t *testing.T) {
	w, addrs := run(t, fmt.Sprintf(both, ""))
	udp := dial(t, "udp", addrs["udp"])
	fmt.Fprint(udp, "<34>1 2026-11-23T18:00:00Z host-a app - - - hello\n")
	w.Wait(t, "the datagram", func() bool { return len(w.Stored()) == 1 })
	tcp := dial(t, "tcp", addrs["tcp"])
	fmt.Fprint(tcp, "<13>Nov 23 18:00:01 host-b su: two\n")
	fmt.Fprint(tcp, "33 <13>Nov 23 18:00:01 host-b counted\n") // the 33 bytes hold a line end
	fmt.Fprint(tcp, "\r\nno header \xff\r\n<13>last without an end")
	tcp.Close()
	w.Wait(t, "all", func() bool { return len(w.Stored()) >= 5 })
	var got []string
	for _, l := range w.Stored() {
		if l.TenantId != "t" || l.Id == "" || l.Timestamp == "" {
			t.Errorf("log: %v", l)
		}
		got = append(got, l.DataType+"|"+l.DataSource+"|"+l.Raw)
	}
	want := []string{
		"net|host-a|<34>1 2026-11-23T18:00:00Z host-a app - - - hello",
		"app|host-b|<13>Nov 23 18:00:01 host-b su: two",
		"app|host-b|<13>Nov 23 18:00:01 host-b counte",
		"app|127.0.0.1|d",
		"app|127.0.0.1|no header \uFFFD",
		"app|127.0.0.1|<13>last without an end",
	}
	if len(got) == 5 { // the last may be under way
		w.Wait(t, "the last", func() bool { return len(w.Stored()) == 6 })
		got = append(got, "app|127.0.0.1|"+w.Stored()[5].Raw)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// A node that takes nothing is felt by the TCP sender, and nothing is lost.
func TestTCPSlowsItsSender(t *testing.T) {
	w, addrs := run(t, fmt.Sprintf(both, ""))
	w.Hold(true)
	c := dial(t, "tcp", addrs["tcp"]).(*net.TCPConn)
	_ = c.SetWriteBuffer(64 << 10)
	line := strings.Repeat("x", 8000)
	sent, blocked := 0, false
	for !blocked {
		// The window (16 MiB) and the kernel's buffers fill up.
		if sent > 20_000 {
			t.Fatal("the sender was never slowed down")
		}
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := fmt.Fprintf(c, "%06d %s\n", sent, line)
		if err != nil {
			blocked = true
			// The rest of the line that was begun.
			w.Hold(false)
			c.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.Write([]byte(fmt.Sprintf("%06d %s\n", sent, line))[n:]); err != nil {
				t.Fatal(err)
			}
		}
		sent++
	}
	c.CloseWrite()
	w.Wait(t, "all lines", func() bool { return len(w.Stored()) >= sent })
	for n, l := range w.Stored() {
		if !strings.HasPrefix(l.Raw, fmt.Sprintf("%06d ", n)) {
			t.Fatalf("line %d is %.20q", n, l.Raw)
		}
	}
}

func TestUDPDropsAreCounted(t *testing.T) {
	w, addrs := run(t, fmt.Sprintf(both, `,"queue":1`))
	w.Hold(true)
	c := dial(t, "udp", addrs["udp"])
	datagram := strings.Repeat("x", 60_000)
	w.Wait(t, "a drop", func() bool {
		for range 20 {
			fmt.Fprint(c, datagram)
		}
		return w.server.dropped.Load() > 0
	})
	w.stop()
	if len(w.out.Lines("datagrams dropped: the node takes logs slower than they come")) == 0 {
		t.Error("no word of the drops")
	}
}

func TestTCPLimits(t *testing.T) {
	w, addrs := run(t, fmt.Sprintf(both, `,"maxConnections":1,"idleTimeout":"200ms","maxLine":480`))
	first := dial(t, "tcp", addrs["tcp"])
	fmt.Fprint(first, strings.Repeat("y", 1000)+"\n")
	w.Wait(t, "the long line", func() bool { return len(w.Stored()) == 1 })
	if n := len(w.Stored()[0].Raw); n != 480 {
		t.Errorf("%d bytes are left of the long line", n)
	}
	if second, err := net.Dial("tcp", addrs["tcp"]); err == nil {
		defer second.Close()
		second.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := second.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the second connection: %v", err)
		}
	}
	first.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection: %v", err)
	}
	var third net.Conn
	w.Wait(t, "room for a third", func() bool {
		var err error
		if third, err = net.Dial("tcp", addrs["tcp"]); err != nil {
			return false
		}
		third.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = third.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			third.Close()
		}
		return errors.Is(err, os.ErrDeadlineExceeded)
	})
	defer third.Close()
	fmt.Fprint(third, "12nonsense")
	third.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a broken frame did not end its connection")
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	settings := fmt.Sprintf(`{"listeners":[{"listen":"127.0.0.1:0","network":"udp"},{"listen":%q,"network":"tcp"}]}`, l.Addr())
	r, err := New(plugins.Instance{Name: "s", Dir: shortdir.New(t), Logger: plugins.NewLogger("s", io.Discard), Config: gjson.Parse(settings)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen on tcp") {
		t.Errorf("run: %v", err)
	}
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "listeners: at least one",
		`{"listeners":[{"listen":"5514","network":"udp"}]}`:                 "listeners[0].listen",
		`{"listeners":[{"listen":":5514","network":"unix"}]}`:               "want udp, tcp, tls or unixgram",
		`{"listeners":[{"listen":":5514","network":"udp"}],"maxLine":5}`:    "maxLine: is 5",
		`{"listeners":[{"listen":":5514","network":"udp"}],"queue":0}`:      "queue: is 0",
		`{"listeners":[{"listen":":1","network":"udp"}],"idleTimeout":"x"}`: "no duration",
	} {
		_, err := New(plugins.Instance{Name: "s", Config: gjson.Parse(text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestHostname(t *testing.T) {
	for msg, want := range map[string]string{
		"<34>1 2026-11-23T18:00:00.1Z mail.example.com su - ID47 - text": "mail.example.com",
		"<34>1 - - su - - - text":                         "",
		"<34>1 - host":                                    "host",
		"<13>Nov 23 18:00:01 web-1 sshd[1]: text":         "web-1",
		"<13>Nov  3 18:00:01 web-1 sshd[1]: text":         "web-1",
		"<13>Nov 23 2026 18:00:01 asa-1 : %ASA-6-1: text": "asa-1",
		"<13>2026-11-23T18:00:01+01:00 web-2 app: text":   "web-2",
		"<13>Nov 23 18:00:01 sshd[1]: text":               "",
		"<13>Nov 23 18:00:01 app: text":                   "",
		"<13>Xxx 23 18:00:01 web-1 app: text":             "",
		"<13>text without a header":                       "",
		"text":                                            "",
		"<>1 x y":                                         "",
		"<abc>1 x y":                                      "",
		"<1234>1 x y":                                     "",
		"":                                                "",
	} {
		if got := hostname(msg); got != want {
			t.Errorf("%q: %q, want %q", msg, got, want)
		}
	}
}

// Where go-syslog reads a whole message, the host is the same.
func FuzzHostname(f *testing.F) {
	f.Add("<34>1 2026-11-23T18:00:00.1Z mail.example.com su - ID47 - text")
	f.Add("<13>Nov 23 18:00:01 web-1 sshd[1]: text")
	f.Add("<13>Nov  3 18:00:01 10.0.0.1 sshd: text")
	p5424, p3164 := rfc5424.NewParser(), rfc3164.NewParser()
	f.Fuzz(func(t *testing.T, msg string) {
		got := hostname(msg)
		if m, err := p5424.Parse([]byte(msg)); err == nil && m != nil {
			if h := m.(*rfc5424.SyslogMessage).Hostname; m.(*rfc5424.SyslogMessage).Version == 1 && h != nil && plausible(*h) && *h != got {
				t.Errorf("%q: %q, RFC 5424 says %q", msg, got, *h)
			}
		}
		if m, err := p3164.Parse([]byte(msg)); err == nil && m != nil {
			if h := m.(*rfc3164.SyslogMessage).Hostname; h != nil && plausible(*h) && *h != got {
				t.Errorf("%q: %q, RFC 3164 says %q", msg, got, *h)
			}
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("5 hello<1>x\n\n3 abc"))
	f.Add([]byte("99999999999 x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newFrames(bytes.NewReader(data), 100, []string{"auto", "counted", "newline"}[len(data)%3])
		for n := 0; ; n++ {
			msg, err := in.next()
			if len(msg) > 100 {
				t.Fatalf("a message of %d bytes", len(msg))
			}
			if err != nil {
				return
			}
			if n > len(data) {
				t.Fatal("more messages than bytes")
			}
		}
	})
}

func BenchmarkHostname(b *testing.B) {
	msg := "<13>Nov 23 18:00:01 web-1.example.com sshd[1]: Failed password for root from 203.0.113.7 port 22 ssh2"
	b.ReportAllocs()
	for b.Loop() {
		if hostname(msg) == "" {
			b.Fatal("no host")
		}
	}
}

func parse(text string) gjson.Result { return gjson.Parse(text) }
