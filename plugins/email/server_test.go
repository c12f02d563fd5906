package email

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// post is a mail as a server has it.
type post struct {
	from string
	to   []string
	text string
	user string
	tls  bool
}

// post office is a mail server of the test, which speaks the protocol with a
// library's server.
type office struct {
	addr string
	srv  *smtp.Server
	l    net.Listener

	mu    sync.Mutex
	mails []post
	conns int
	// what is answered instead, by step: "mail", "rcpt ADDRESS", "data"; nil lets
	// it pass.
	answer func(step string) *smtp.SMTPError
}

type session struct {
	o *office
	c *smtp.Conn
	p post
}

func (s *session) say(step string) error {
	s.o.mu.Lock()
	answer := s.o.answer
	s.o.mu.Unlock()
	if answer != nil {
		if err := answer(step); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) Reset()        { s.p = post{user: s.p.user} }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.p.from = from
	return s.say("mail")
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := s.say("rcpt " + to); err != nil {
		return err
	}
	s.p.to = append(s.p.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.say("data " + string(text)); err != nil {
		return err
	}
	s.p.text = string(text)
	_, s.p.tls = s.c.TLSConnectionState()
	s.o.mu.Lock()
	s.o.mails = append(s.o.mails, s.p)
	s.o.mu.Unlock()
	return nil
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain, sasl.Login} }

func (s *session) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "mesh" || password != "s3cret" {
			return smtp.ErrAuthFailed
		}
		s.p.user = mechanism + " " + user
		return nil
	}
	if mechanism == sasl.Login {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
}

// loginServer is the server's side of AUTH LOGIN, which the library has not.
type loginServer struct {
	check func(user, password string) error
	user  *string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case l.user == nil && response == nil:
		return []byte("Username:"), false, nil
	case l.user == nil:
		user := string(response)
		l.user = &user
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(*l.user, string(response))
}

// openOffice serves at an address, "127.0.0.1:0" for any; implicit TLS where so
// asked, else STARTTLS where there is a certificate.
func openOffice(t testing.TB, addr string, cert *tls.Certificate, implicit bool) *office {
	t.Helper()
	o := &office{}
	o.srv = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		o.mu.Lock()
		o.conns++
		o.mu.Unlock()
		return &session{o: o, c: c}, nil
	}))
	o.srv.Domain, o.srv.ErrorLog = "post.test", log.New(io.Discard, "", 0)
	o.srv.AllowInsecureAuth = true // whether a client then sends a password is its own business
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o.addr, o.l = l.Addr().String(), l
	if cert != nil {
		o.srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
		if implicit {
			l = tls.NewListener(l, o.srv.TLSConfig)
		}
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = o.srv.Serve(l)
	}()
	t.Cleanup(func() {
		o.srv.Close()
		<-served
	})
	return o
}

func (o *office) say(answer func(step string) *smtp.SMTPError) {
	o.mu.Lock()
	o.answer = answer
	o.mu.Unlock()
}

func (o *office) all() []post {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mails[:len(o.mails):len(o.mails)]
}

type values map[string]any

func build(t testing.TB, v values) *mailer {
	t.Helper()
	for name, value := range (values{"security": "none", "from": "Mesh <mesh@epmesh.test>", "to": []string{"ops@example.test"}, "retryFor": "3s"}) {
		if _, ok := v[name]; !ok {
			v[name] = value
		}
	}
	dir, _ := v["dir"].(string)
	if delete(v, "dir"); dir == "" {
		dir = shortdir.New(t)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(plugins.Instance{Name: "mail", Dir: dir, Host: "n1", Logger: hclog.NewNullLogger(), Config: gjson.ParseBytes(text)})
	if err != nil {
		t.Fatal(err)
	}
	return r.(*mailer)
}

// opened is a mailer that can be called without being served.
func opened(t testing.TB, v values) *mailer {
	t.Helper()
	m := build(t, v)
	path := filepath.Join(m.Dir, "state", m.Name, "spool")
	var err error
	if m.spool, err = openSpool(path, m.Digest.MaxKept, m.Digest.MaxKeptBytes, m.Logger); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.server.quit()
		m.spool.close()
	})
	return m
}

// run serves a mailer until the test or stop ends it.
func run(t testing.TB, m *mailer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func message(id, text string) *pb.Message {
	return &pb.Message{Id: id, Timestamp: "2026-11-23T18:00:00Z", Topic: "incidents", Message: text}
}

func put(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func isLater(err error) bool {
	return status.Code(err) == codes.Unavailable && len(status.Convert(err).Details()) == 1
}

// parse reads a mail as a mail program does: its headers, decoded, and the texts
// of its parts by type.
func parse(t testing.TB, text string) (head mail.Header, subject string, byType map[string]string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	byType = map[string]string{}
	if media != "multipart/alternative" {
		// The standard library decodes quoted-printable only within parts.
		media = "multipart/alternative"
		body, _ := io.ReadAll(m.Body)
		params = map[string]string{"boundary": "=_x"}
		m.Body = io.MultiReader(strings.NewReader("--=_x\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"), bytes.NewReader(body), strings.NewReader("\r\n--=_x--\r\n"))
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", media, err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		byType[kind] = string(content)
	}
	return m.Header, subject, byType
}
