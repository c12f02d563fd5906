package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/epmesh/epmesh/plugins/internal/delivery"
	"github.com/hashicorp/go-hclog"
)

const (
	idle     = 20 * time.Second // that a connection is kept for the next mail
	maxReply = 1 << 20          // bytes of a server's replies to one mail
	maxSaid  = 500              // bytes of its words that are kept
)

// outcome is what the server made of a mail.
type outcome int

const (
	sent     outcome = iota
	refused          // this mail it never will take
	mistaken         // the operator has to mend the settings
	deferred         // it asks to come again with this mail
	away             // it takes nothing now
)

type answer struct {
	outcome outcome
	text    string
}

// server is the mail server, and the connection to it. One mail goes at a time.
type server struct {
	Settings
	log  hclog.Logger
	turn chan struct{} // holds a token while nobody sends

	client *smtp.Client
	conn   *boundedConn
	close  *time.Timer
}

func newServer(s Settings, log hclog.Logger) *server {
	m := &server{Settings: s, log: log, turn: make(chan struct{}, 1)}
	m.turn <- struct{}{}
	return m
}

// take waits for the turn to send, as long as ctx; give passes it on.
func (m *server) take(ctx context.Context) error {
	select {
	case <-m.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *server) give() { m.turn <- struct{}{} }

// quit ends the connection for good.
func (m *server) quit() {
	<-m.turn
	m.drop(true)
}

// send hands a mail over and says what came of it; who calls has the turn. The
// connection stays for the next for a while.
func (m *server) send(ctx context.Context, from string, to []string, text []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout.D())
	defer cancel()
	if m.close != nil {
		m.close.Stop()
	}
	a := m.once(ctx, from, to, text)
	if m.client != nil {
		m.close = time.AfterFunc(idle, m.hangUp)
	}
	return a
}

// hangUp ends the connection, unless a mail is on its way.
func (m *server) hangUp() {
	select {
	case <-m.turn:
		m.drop(true)
		m.turn <- struct{}{}
	default:
	}
}

func (m *server) drop(politely bool) {
	if m.close != nil {
		m.close.Stop()
	}
	if m.client == nil {
		return
	}
	if politely {
		_ = m.conn.SetDeadline(time.Now().Add(time.Second))
		m.client.CommandTimeout = time.Second
		_ = m.client.Quit()
	}
	_ = m.client.Close()
	m.client, m.conn = nil, nil
}

func (m *server) once(ctx context.Context, from string, to []string, text []byte) answer {
	if m.client != nil {
		// The server may have ended the connection meanwhile: asked before a mail is
		// on its way, that costs nothing.
		conn := m.conn
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		conn.left.Store(maxReply)
		if err := m.client.Noop(); err != nil || !stop() {
			m.drop(false)
		}
	}
	if m.client == nil {
		if a := m.connect(ctx); a.outcome != sent {
			m.drop(false)
			return a
		}
	}
	// Closing is what ends every wait at the deadline, whatever the library waits
	// for.
	conn := m.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	conn.left.Store(maxReply)
	a, broken := m.transact(from, to, text)
	if !stop() || broken {
		m.drop(false)
	} else if a.outcome != sent {
		if m.client.Reset() != nil {
			m.drop(false)
		}
	}
	return a
}

// connect dials, secures and logs in.
func (m *server) connect(ctx context.Context) answer {
	config, err := m.tlsConfig()
	if err != nil {
		return answer{mistaken, err.Error()}
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return answer{away, fmt.Sprintf("connect: %v", err)}
	}
	m.conn = &boundedConn{Conn: raw}
	m.conn.left.Store(maxReply)
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	switch m.Security {
	case securityTLS:
		secured := tls.Client(m.conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			raw.Close()
			return answer{away, fmt.Sprintf("connect: %v", err)}
		}
		m.client = smtp.NewClient(secured)
	case securityStartTLS:
		if m.client, err = smtp.NewClientStartTLS(m.conn, config); err != nil {
			raw.Close()
			a := judge("start TLS", err, mistaken)
			if strings.Contains(err.Error(), "doesn't support STARTTLS") {
				a = answer{mistaken, "start TLS: the server offers none: check server and security"}
			}
			return a
		}
	default:
		m.client = smtp.NewClient(m.conn)
	}
	m.client.CommandTimeout, m.client.SubmissionTimeout = m.Timeout.D(), m.Timeout.D()
	if err := m.client.Hello(m.Hello); err != nil {
		return judge("greet", err, mistaken)
	}
	if m.Username == "" {
		return answer{}
	}
	password, err := delivery.ReadSecret(m.PasswordFile)
	if err != nil {
		return answer{mistaken, fmt.Sprintf("passwordFile: %v", err)}
	}
	// Settings and the handshake above see to it that this is under TLS.
	if _, secure := m.client.TLSConnectionState(); !secure {
		return answer{mistaken, "log in: the connection has no TLS"}
	}
	mechanism := sasl.NewPlainClient("", m.Username, password)
	if m.Auth == authLogin {
		mechanism = sasl.NewLoginClient(m.Username, password)
	}
	if err := m.client.Auth(mechanism); err != nil {
		return judge("log in", err, mistaken)
	}
	return answer{}
}

// transact hands one mail over. broken says that the connection is of no more
// use.
func (m *server) transact(from string, to []string, text []byte) (a answer, broken bool) {
	if err := m.client.Mail(from, nil); err != nil {
		return outcomeOf("from "+from, err, away)
	}
	var rejected []string
	for _, address := range to {
		if err := m.client.Rcpt(address, nil); err != nil {
			a, broken := outcomeOf("to "+address, err, deferred)
			if broken || a.outcome != refused {
				return a, broken // nobody has got it yet
			}
			rejected = append(rejected, a.text)
		}
	}
	if len(rejected) == len(to) {
		return answer{refused, delivery.Cut(strings.Join(rejected, "; "), 4*maxSaid)}, false
	}
	w, err := m.client.Data()
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		_, err = w.CloseWithResponse()
	}
	if err != nil {
		return outcomeOf("mail", err, deferred)
	}
	if len(rejected) > 0 {
		m.log.Error("the mail server refuses some recipients; the others have got the mail", "error", strings.Join(rejected, "; "))
	}
	return answer{}, false
}

// outcomeOf is judge for a mail: what the server refuses is refused.
func outcomeOf(what string, err error, passing outcome) (a answer, broken bool) {
	a = judge(what, err, refused)
	if said, ok := errors.AsType[*smtp.SMTPError](err); ok {
		if said.Code/100 == 4 && said.Code != 421 {
			a.outcome = passing
		}
		return a, said.Code == 421
	}
	return a, true
}

// judge says what an error means: the server's "never" is as the caller says,
// everything else may pass.
func judge(what string, err error, never outcome) answer {
	if said, ok := errors.AsType[*smtp.SMTPError](err); ok {
		a := answer{away, fmt.Sprintf("%s: the mail server answered %d %s", what, said.Code, delivery.Line(said.Message, maxSaid))}
		if said.EnhancedCode != (smtp.EnhancedCode{}) && said.EnhancedCode != smtp.NoEnhancedCode {
			a.text = fmt.Sprintf("%s: the mail server answered %d %d.%d.%d %s", what, said.Code,
				said.EnhancedCode[0], said.EnhancedCode[1], said.EnhancedCode[2], delivery.Line(said.Message, maxSaid))
		}
		if said.Code/100 == 5 {
			a.outcome = never
		}
		return a
	}
	return answer{away, fmt.Sprintf("%s: %s", what, delivery.Line(err.Error(), maxSaid))}
}

// boundedConn reads no more than was agreed to: a server may talk without end.
type boundedConn struct {
	net.Conn
	left atomic.Int64
}

// Read implements net.Conn.
func (c *boundedConn) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 {
		return 0, errors.New("the mail server says too much")
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.left.Add(-int64(n))
	return n, err
}
