package syslog

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// ending waits for the other side's end: io.EOF after a close, ECONNRESET after
// a reset.
func ending(t *testing.T, c net.Conn) error {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := c.Read(make([]byte, 1))
	return err
}

// A sender that half-closes learns from the close that all is stored, and from a
// reset that it is not.
func TestCloseMeansStored(t *testing.T) {
	w, addrs := run(t, fmt.Sprintf(both, ""))
	w.Hold(true)
	c := dial(t, "tcp", addrs["tcp"]).(*net.TCPConn)
	fmt.Fprint(c, "<13>1 2026-11-26T10:00:00.000001Z h a - - - one\n<13>1 2026-11-26T10:00:00.000001Z h a - - - one\n")
	c.CloseWrite()
	w.Wait(t, "both logs on their way", func() bool { return len(w.Received()) == 2 })
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection ended before all was stored: %v", err)
	}
	w.Hold(false)
	if err := ending(t, c); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
	if n := len(w.Stored()); n != 2 {
		t.Errorf("%d logs are stored", n)
	}
	// Sent again, it has the ids it had.
	c = dial(t, "tcp", addrs["tcp"]).(*net.TCPConn)
	fmt.Fprint(c, "<13>1 2026-11-26T10:00:00.000001Z h a - - - one\n<13>1 2026-11-26T10:00:00.000001Z h a - - - one\n")
	c.CloseWrite()
	if err := ending(t, c); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
	if n, m := len(w.Received()), len(w.Stored()); n != 4 || m != 2 {
		t.Errorf("%d logs came, of %d ids", n, m)
	}
	// Whoever waits when the plugin stops is reset.
	w.Hold(true)
	c = dial(t, "tcp", addrs["tcp"]).(*net.TCPConn)
	fmt.Fprint(c, "<13>two\n")
	c.CloseWrite()
	w.Wait(t, "the log on its way", func() bool { return len(w.Received()) == 5 })
	w.stop()
	if err := ending(t, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %v", err)
	}
}

// A sender that floods does not keep another's few messages waiting.
func TestConnectionsTakeTurns(t *testing.T) {
	w, addrs := run(t, fmt.Sprintf(both, `,"readAhead":64`))
	w.Hold(true)
	for n := range 3 {
		c := dial(t, "tcp", addrs["tcp"])
		go func() {
			line := fmt.Sprintf("flood %d %s\n", n, strings.Repeat("x", 200))
			for {
				if _, err := io.WriteString(c, strings.Repeat(line, 100)); err != nil {
					return
				}
			}
		}()
	}
	w.Wait(t, "full read-ahead", func() bool { return len(w.Received()) == 3*64 })
	c := dial(t, "tcp", addrs["tcp"])
	fmt.Fprint(c, "the one that matters\n")
	w.Wait(t, "the small sender's message", func() bool {
		return slices.ContainsFunc(w.Received(), func(l *logRecord) bool { return l.Raw == "the one that matters" })
	})
	if n := len(w.Received()); n != 3*64+1 {
		t.Errorf("%d messages are ahead of the node", n)
	}
	w.Hold(false)
	w.Wait(t, "all in turns", func() bool { return len(w.Stored()) > 3000 })
	count := map[byte]int{}
	for _, l := range w.Stored() {
		count[l.Raw[len("flood ")]]++
	}
	for n, c := range count {
		if n >= '0' && n <= '2' && c < 300 {
			t.Errorf("sender %c came to %d of %v", n, c, count)
		}
	}
}

func TestFraming(t *testing.T) {
	w, addrs := run(t, `{"listeners":[{"listen":"127.0.0.1:0","network":"tcp","framing":"newline","dataSource":"fixed","tenant":"t2"}]}`)
	c := dial(t, "tcp", addrs["tcp"]).(*net.TCPConn)
	fmt.Fprint(c, "2026-11-26 starts with digits\n12 so does this\n")
	c.CloseWrite()
	ending(t, c)
	if got, want := w.Raws(), []string{"2026-11-26 starts with digits", "12 so does this"}; !slices.Equal(got, want) {
		t.Errorf("stored %q", got)
	}
	if l := w.Stored()[0]; l.DataSource != "fixed" || l.TenantId != "t2" || l.DataType != "syslog" {
		t.Errorf("log: %v", l)
	}

	w, addrs = run(t, `{"listeners":[{"listen":"127.0.0.1:0","network":"tcp","framing":"counted"}]}`)
	c = dial(t, "tcp", addrs["tcp"]).(*net.TCPConn)
	fmt.Fprint(c, "5 hello\n3 a\nb<13>not counted\n")
	if err := ending(t, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %v", err)
	}
	w.Wait(t, "what was whole", func() bool { return len(w.Raws()) == 2 })
	if got, want := w.Raws(), []string{"hello", "a\nb"}; !slices.Equal(got, want) {
		t.Errorf("stored %q", got)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(shortdir.New(t), "log")
	settings := fmt.Sprintf(`{"listeners":[{"listen":%q,"network":"unixgram","mode":"0666","dataType":"local"}]}`, path)
	for range 2 { // the second finds what the first, had it been killed, would leave
		w, _ := run(t, settings)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o666 {
			t.Errorf("socket: %v %v", info, err)
		}
		c := dial(t, "unixgram", path)
		fmt.Fprint(c, "<13>Nov 26 10:00:00 su: local message")
		w.Wait(t, "the message", func() bool { return len(w.Stored()) == 1 })
		if l := w.Stored()[0]; l.DataType != "local" || l.DataSource != "this-host" {
			t.Errorf("log: %v", l)
		}
		w.stop()
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("left behind: %v", err)
		}
		left, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		left.Close() // which leaves the file
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path, "0660"); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file in its place: %v", err)
	}
}

// What the system throws away is counted too, on Linux.
func TestKernelDrops(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	u := &udpSocket{inode: socketInode(conn)}
	if _, ok := kernelDrops(u.inode); !ok {
		t.Skip("this system does not list the drops of UDP sockets")
	}
	if n := u.lost(); n != 0 {
		t.Errorf("%d drops before anything came", n)
	}
	_ = conn.SetReadBuffer(4096)
	c := dial(t, "udp", conn.LocalAddr().String())
	for range 1000 {
		fmt.Fprint(c, strings.Repeat("x", 1000))
	}
	if n := u.lost(); n < 500 || n > 1000 {
		t.Errorf("%d of 1000 were dropped", n)
	}
	if n := u.lost(); n != 0 {
		t.Errorf("%d were counted twice", n)
	}
}
