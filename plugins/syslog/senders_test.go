package syslog

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// Real senders, each as a private process of the test on the loopback address.
// They skip where the program is not installed. Debian's rsyslog and syslog-ng
// exclude each other; EPMESH_RSYSLOG names a folder that the packages rsyslog,
// rsyslog-gnutls and rsyslog-openssl were unpacked into:
//
//	apt-get download rsyslog rsyslog-gnutls rsyslog-openssl
//	for p in *.deb; do dpkg -x "$p" /opt/rsyslog; done
//	EPMESH_RSYSLOG=/opt/rsyslog go test ./plugins/syslog -run Sender -v

// daemon is a relay of another's making: what is written to its socket it sends
// on. It ends with the test.
type daemon struct {
	*testing.T
	socket string
	conn   *net.UnixConn
	out    bytes.Buffer
}

func startDaemon(t *testing.T, dir, program string, args ...string) *daemon {
	t.Helper()
	d := &daemon{T: t, socket: filepath.Join(dir, "log")}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &d.out, &d.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		if d.conn != nil {
			d.conn.Close()
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s wrote: %s", filepath.Base(program), d.out.String())
		}
	})
	for late := time.After(10 * time.Second); d.conn == nil; {
		var err error
		if d.conn, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: d.socket, Net: "unixgram"}); err == nil {
			break
		}
		d.conn = nil
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, d.out.String())
		case <-late:
			t.Fatalf("%s does not come up", program)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return d
}

func (d *daemon) say(text string) {
	d.Helper()
	d.conn.SetWriteDeadline(time.Now().Add(60 * time.Second))
	for {
		_, err := d.conn.Write([]byte("<13>Nov 26 10:00:00 tag: " + text))
		if err == nil {
			return
		}
		if !isNoBuffer(err) {
			d.Fatal(err)
		}
	}
}

func isNoBuffer(err error) bool { return strings.Contains(err.Error(), syscall.ENOBUFS.Error()) }

// rsyslog is the program and its options, or skips.
func rsyslog(t *testing.T, driver string) (program string, args []string) {
	t.Helper()
	root := os.Getenv("EPMESH_RSYSLOG")
	path, err := exec.LookPath(filepath.Join(root, "usr/sbin/rsyslogd"))
	if root == "" {
		path, err = exec.LookPath("rsyslogd")
	}
	if err != nil {
		t.Skip("rsyslog is not installed (apt-get install rsyslog rsyslog-gnutls rsyslog-openssl, or EPMESH_RSYSLOG)")
	}
	libs := filepath.Join("/", root, "usr/lib/*/rsyslog")
	modules, _ := filepath.Glob(libs)
	if driver != "" {
		if found, _ := filepath.Glob(filepath.Join(libs, "lmnsd_"+driver+".so")); len(found) == 0 {
			t.Skipf("rsyslog has no TLS driver %s here (Debian: rsyslog-gnutls, rsyslog-openssl)", driver)
		}
	}
	if root != "" && len(modules) > 0 {
		args = append(args, "-M", modules[0])
	}
	return path, args
}

func startRsyslog(t *testing.T, global, action, driver string) *daemon {
	t.Helper()
	program, args := rsyslog(t, driver)
	dir := shortdir.New(t)
	config := fmt.Sprintf(`
global(workDirectory="%[1]s" %[2]s)
main_queue(queue.type="FixedArray" queue.size="500" queue.timeoutEnqueue="60000")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" socket="%[1]s/log" createPath="on" rateLimit.Interval="0" useSysTimeStamp="off")
action(type="omfwd" template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1" action.resumeInterval="1" queue.type="LinkedList" queue.size="1000" queue.timeoutEnqueue="60000" %[3]s)
`, dir, global, action)
	file := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startDaemon(t, dir, program, append(args, "-n", "-i", filepath.Join(dir, "pid"), "-f", file)...)
}

func startSyslogNG(t *testing.T, destination string) *daemon {
	t.Helper()
	program, err := exec.LookPath("syslog-ng")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/syslog-ng")
	}
	if err != nil {
		t.Skip("syslog-ng is not installed (apt-get install syslog-ng-core)")
	}
	dir := shortdir.New(t)
	config := fmt.Sprintf(`@version: 3.35
options { stats-freq(0); time-reopen(1); ts-format(iso); frac-digits(6); flush-lines(1); };
source local { unix-dgram("%s/log"); };
destination node { %s };
log { source(local); destination(node); flags(flow-control); };
`, dir, destination)
	file := filepath.Join(dir, "ng.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startDaemon(t, dir, program, "-F", "-f", file, "-R", filepath.Join(dir, "persist"), "-p", filepath.Join(dir, "pid"), "-c", filepath.Join(dir, "ctl"), "--no-caps")
}

// relay says n messages and wants each once, in order, and identified or not.
func relay(t *testing.T, w *world, d *daemon, n int, source string) {
	t.Helper()
	from := len(w.Stored())
	for i := range n {
		d.say(fmt.Sprintf("message %d of %d", i, n))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("received %d, stored %d, the last %q", len(w.Received()), len(w.Stored()), w.Raws()[max(0, len(w.Raws())-2):])
		}
	})
	w.Wait(t, "all messages", func() bool { return len(w.Stored()) >= from+n })
	for i, l := range w.Stored()[from:] {
		if want := fmt.Sprintf("message %d of %d", i, n); !strings.HasSuffix(l.Raw, want) || !strings.HasPrefix(l.Raw, "<13>") {
			t.Fatalf("%q, want %q at its end", l.Raw, want)
		}
		if source != "" && l.DataSource != source {
			t.Fatalf("from %q, want %q", l.DataSource, source)
		}
	}
	t.Logf("%d messages; the first is %q from %q", n, w.Stored()[from].Raw, w.Stored()[from].DataSource)
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func tlsListener(t *testing.T) (w *world, a *authority, port_ string) {
	a = newAuthority(t)
	a.server("server")
	a.client("sender", "sender.example.com")
	w, addrs := run(t, fmt.Sprintf(`{"listeners":[{"listen":"127.0.0.1:0","network":"tls","tls":{"cert":%q,"key":%q,"clientCA":%q,"allowNames":["sender.example.com"],"peerName":true}}]}`,
		a.path("server.pem"), a.path("server.key"), a.path("ca.pem")))
	return w, a, port(addrs["tls"])
}

func TestSenderRsyslogTCP(t *testing.T) {
	for _, framing := range []string{"octet-counted", "traditional"} {
		t.Run(framing, func(t *testing.T) {
			rsyslog(t, "")
			w, addrs := run(t, fmt.Sprintf(both, ""))
			d := startRsyslog(t, "", fmt.Sprintf(`target="127.0.0.1" port=%q protocol="tcp" TCP_Framing=%q`, port(addrs["tcp"]), framing), "")
			relay(t, w, d, 500, "")
		})
	}
	t.Run("udp", func(t *testing.T) {
		rsyslog(t, "")
		w, addrs := run(t, fmt.Sprintf(both, ""))
		d := startRsyslog(t, "", fmt.Sprintf(`target="127.0.0.1" port=%q protocol="udp"`, port(addrs["udp"])), "")
		relay(t, w, d, 100, "")
	})
}

func TestSenderRsyslogTLS(t *testing.T) {
	for _, driver := range []string{"gtls", "ossl"} {
		t.Run(driver, func(t *testing.T) {
			rsyslog(t, driver)
			w, a, p := tlsListener(t)
			global := fmt.Sprintf(`defaultNetstreamDriver=%q defaultNetstreamDriverCAFile=%q defaultNetstreamDriverCertFile=%q defaultNetstreamDriverKeyFile=%q`,
				driver, a.path("ca.pem"), a.path("sender.pem"), a.path("sender.key"))
			d := startRsyslog(t, global, fmt.Sprintf(`target="127.0.0.1" port=%q protocol="tcp" TCP_Framing="octet-counted" StreamDriver=%q StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"`, p, driver), driver)
			relay(t, w, d, 300, "sender.example.com")
		})
	}
}

// A node that takes nothing slows rsyslog down to its own senders, and nothing is
// lost when it goes on.
func TestSenderRsyslogIsSlowedDown(t *testing.T) {
	rsyslog(t, "")
	w, addrs := run(t, fmt.Sprintf(both, ""))
	w.Hold(true)
	d := startRsyslog(t, "", fmt.Sprintf(`target="127.0.0.1" port=%q protocol="tcp" TCP_Framing="octet-counted"`, port(addrs["tcp"])), "")
	const n = 8_000
	filler := strings.Repeat("x", 7000)
	var said sync.WaitGroup
	told := make(chan int, n)
	said.Go(func() {
		for i := range n {
			d.say(fmt.Sprintf("%s message %d of %d", filler, i, n))
			told <- i
		}
	})
	// It has come to a stop once nothing is told any more for a while.
	stopped, last := time.NewTimer(2*time.Second), 0
	for waiting := true; waiting; {
		select {
		case last = <-told:
			stopped.Reset(2 * time.Second)
		case <-stopped.C:
			waiting = false
		}
	}
	if last == n-1 {
		t.Fatal("the sender was never slowed down")
	}
	ahead := len(w.Received())
	w.Hold(false)
	said.Wait()
	w.Wait(t, "all messages", func() bool { return len(w.Received()) >= n })
	w.Wait(t, "all stored", func() bool { return len(w.Stored()) >= n })
	for i, l := range w.Stored() {
		if want := fmt.Sprintf("message %d of %d", i, n); !strings.HasSuffix(l.Raw, want) {
			t.Fatalf("message %d is %.40q...", i, l.Raw[len(l.Raw)-40:])
		}
	}
	t.Logf("its sender stood at message %d, %d were ahead of the node; %d stored, none lost, in order", last, ahead, len(w.Stored()))
}

func TestSenderSyslogNG(t *testing.T) {
	w, addrs := run(t, fmt.Sprintf(both, ""))
	p := port(addrs["tcp"])
	for name, destination := range map[string]string{
		"newline": fmt.Sprintf(`network("127.0.0.1" port(%s) transport("tcp"));`, p),
		"counted": fmt.Sprintf(`syslog("127.0.0.1" port(%s) transport("tcp"));`, p),
	} {
		t.Run(name, func(t *testing.T) { relay(t, w, startSyslogNG(t, destination), 300, "") })
	}
	t.Run("udp", func(t *testing.T) {
		relay(t, w, startSyslogNG(t, fmt.Sprintf(`syslog("127.0.0.1" port(%s) transport("udp"));`, port(addrs["udp"]))), 100, "")
	})
	t.Run("tls", func(t *testing.T) {
		w, a, p := tlsListener(t)
		relay(t, w, startSyslogNG(t, fmt.Sprintf(`syslog("127.0.0.1" port(%s) transport("tls") tls(ca-file(%q) cert-file(%q) key-file(%q) peer-verify(required-untrusted)));`,
			p, a.path("ca.pem"), a.path("sender.pem"), a.path("sender.key"))), 300, "sender.example.com")
	})
}

func TestSenderLogger(t *testing.T) {
	program, err := exec.LookPath("logger")
	if err != nil {
		t.Skip("logger is not installed (apt-get install bsdutils)")
	}
	w, addrs := run(t, fmt.Sprintf(both, ""))
	var want []string
	for n, args := range [][]string{
		{"-n", "127.0.0.1", "-P", port(addrs["udp"]), "-d"},
		{"-n", "127.0.0.1", "-P", port(addrs["udp"]), "-d", "--rfc5424"},
		{"-n", "127.0.0.1", "-P", port(addrs["tcp"]), "-T"},
		{"-n", "127.0.0.1", "-P", port(addrs["tcp"]), "-T", "--octet-count"},
		{"-n", "127.0.0.1", "-P", port(addrs["tcp"]), "-T", "--octet-count", "--rfc5424"},
		{"-n", "127.0.0.1", "-P", port(addrs["tcp"]), "-T", "--rfc3164"},
	} {
		for range 2 { // two equal messages are two logs
			text := fmt.Sprintf("said %d", n)
			want = append(want, text)
			if out, err := exec.Command(program, append(args, "-t", "tag", text)...).CombinedOutput(); err != nil {
				t.Fatalf("logger %v: %v: %s", args, err, out)
			}
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stored %q\n%s", w.Raws(), w.out.String())
		}
	})
	w.Wait(t, "all messages", func() bool { return len(w.Stored()) == len(want) })
	var got []string
	for _, l := range w.Stored() {
		got = append(got, l.Raw[strings.LastIndex(l.Raw, "said"):])
		if l.DataSource == "" || l.DataSource == "127.0.0.1" {
			t.Errorf("%q is from %q", l.Raw, l.DataSource)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("stored %q", got)
	}
}
