package email

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/delivery/deliverytest"
)

// aioserver is a mail server of others' making: aiosmtpd, in Python, with
// STARTTLS and a login; it prints each mail as a line.
const aioserver = `
import asyncio, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
class Handler:
    async def handle_DATA(self, server, session, envelope):
        print("mail", ",".join(envelope.rcpt_tos), session.ssl is not None, session.authenticated, len(envelope.content), flush=True)
        return "250 taken"
def login(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"mesh" and data.password == b"s3cret")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
c = Controller(Handler(), hostname="127.0.0.1", port=int(sys.argv[3]), tls_context=context, require_starttls=True, authenticator=login, auth_required=True)
c.start()
print("ready", flush=True)
sys.stdin.read()
c.stop()
`

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestAiosmtpd(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's, which has Debian's packages
	if err := exec.Command(python, "-c", "import aiosmtpd").Run(); err != nil {
		t.Skip("no aiosmtpd here: apt-get install python3-aiosmtpd")
	}
	authority := deliverytest.New(t)
	_, cert, key := authority.Issue("post.test")
	port := freePort(t)
	cmd := exec.Command(python, "-c", aioserver, cert, key, fmt.Sprint(port))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the server says %q", lines.Text())
	}
	m := opened(t, values{
		"server": fmt.Sprint("127.0.0.1:", port), "security": "starttls", "tls": values{"ca": authority.File},
		"username": "mesh", "passwordFile": put(t, "password", "s3cret"),
	})
	for i := range 3 {
		if err := m.notify(t.Context(), message(fmt.Sprint(i), incident)); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), "mail ops@example.test True True ") {
			t.Errorf("the server says %q", lines.Text())
		}
	}
}

// OpenSMTPD, started by root as a private instance, delivers into a maildir.
func TestOpenSMTPD(t *testing.T) {
	smtpd, err := exec.LookPath("/usr/sbin/smtpd")
	if err != nil || os.Getuid() != 0 {
		t.Skip("no OpenSMTPD that could be started here: apt-get install opensmtpd, and root")
	}
	// Its users must be able to read what it is to read and write.
	dir, err := os.MkdirTemp("/tmp", "osmtpd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		t.Fatal(err)
	}
	port := freePort(t)
	maildir := filepath.Join(dir, "mail")
	if err := os.Mkdir(maildir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(maildir, 0o777); err != nil { //nolint:gosec // the server's user is another
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "smtpd.conf")
	text := fmt.Sprintf("table users { \"ops\" = \"nobody\" }\nqueue ttl 1m\nlisten on 127.0.0.1 port %d\naction \"keep\" mda \"/bin/sh -c 'cd %s && cat > part.$$ && mv part.$$ $$.mail'\" virtual <users>\nmatch from any for any action \"keep\"\n", port, maildir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(smtpd, "-n", "-f", conf).CombinedOutput(); err != nil {
		t.Skipf("OpenSMTPD does not take the configuration here: %s", out)
	}
	cmd := exec.Command(smtpd, "-d", "-f", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	up := false
	for late := time.After(5 * time.Second); !up; {
		if conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			conn.Close()
			up = true
			break
		}
		select {
		case err := <-ended:
			ended <- err
			t.Skipf("OpenSMTPD does not run here: %v", err)
		case <-late:
			t.Skip("OpenSMTPD does not listen here")
		case <-time.After(20 * time.Millisecond):
		}
	}
	m := opened(t, values{"server": fmt.Sprint("127.0.0.1:", port), "to": []string{"ops@" + hostName(t)}, "retryFor": "10s"})
	if err := m.notify(t.Context(), message("m1", incident)); err != nil {
		t.Fatal(err)
	}
	var mails []string
	within(t, "the mail is delivered", func() bool {
		mails, _ = filepath.Glob(maildir + "/*.mail")
		return len(mails) == 1
	})
	raw, err := os.ReadFile(mails[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, subject, parts := parse(t, string(raw)); subject != "HIGH SSH brute force from 203.0.113.7 against wéb-1" || len(parts) != 2 {
		t.Errorf("delivered %q with %d parts", subject, len(parts))
	}
}

func hostName(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}
