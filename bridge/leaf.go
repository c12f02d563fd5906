package bridge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// LeafOptions make an embedded server a leaf of a hub. The zero value is a server
// that is none.
//
// The streams stay in an account of this server that the hub does not see, nor do
// they see the hub. The link belongs to an account of its own, in which there is
// nothing but what Hub sends, so that neither side can do more to the other than
// the hub's permissions for this user say.
type LeafOptions struct {
	// URLs are the hub's ports for leaf nodes; user and password may be in them.
	URLs []string
	// Credentials is a .creds file.
	Credentials string
	// TLS is what is shown to the hub, and whom is trusted. A URL with tls:// asks
	// for TLS too.
	TLS TLSFiles
	// Insecure allows a hub beyond this machine without TLS.
	Insecure bool
}

func (o LeafOptions) on() bool { return len(o.URLs) > 0 }

const (
	// hubAccount is the account that the link belongs to.
	hubAccount = "HUB"
	hubUser    = "hub"

	// leafPing is how often the hub is asked whether it is there: one that gives no
	// answer twice is gone.
	leafPing = 5 * time.Second
	leafWait = 5 * time.Second
)

// apply makes opts those of a leaf; it returns the password of hubUser.
func (o LeafOptions) apply(opts *server.Options, password string) error {
	if !o.on() {
		return nil
	}
	if opts.Cluster.Port != 0 {
		return errors.New("nats leaf: a server of a cluster is no leaf: give nats.leaf or nats.cluster")
	}
	remote := &server.RemoteLeafOpts{LocalAccount: hubAccount, Credentials: o.Credentials, DialTimeout: leafWait}
	secure := o.TLS.given()
	for _, text := range o.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return errors.New("nats leaf: not a URL of a hub; write nats-leaf://host:7422 or tls://host:7422") // it may hold a password
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), fmt.Sprint(server.DEFAULT_LEAFNODE_PORT))
		}
		secure = secure || u.Scheme == "tls"
		remote.URLs = append(remote.URLs, u)
	}
	for _, u := range remote.URLs {
		if !secure && !o.Insecure && !loopback(u.Host) {
			return fmt.Errorf("nats leaf: to %s everything would go in plain text: write tls:// or give nats.leaf.tls.ca, or say nats.leaf.insecure: true", u.Host)
		}
	}
	if secure {
		config, err := o.TLS.client()
		if err != nil {
			return fmt.Errorf("nats leaf: %w", err)
		}
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		remote.TLS, remote.TLSConfig, remote.TLSTimeout = true, config, leafWait.Seconds()
	}
	account := server.NewAccount(hubAccount)
	opts.Accounts = append(opts.Accounts, account)
	opts.Users = append(opts.Users, &server.User{
		Username: hubUser, Password: password, Account: account, AllowedConnectionTypes: map[string]struct{}{"IN_PROCESS": {}},
	})
	opts.LeafNode.Remotes = []*server.RemoteLeafOpts{remote}
	opts.LeafNode.ReconnectInterval = time.Second
	// Whether they are told is for leafLogger to say.
	opts.ConnectErrorReports, opts.ReconnectErrorReports = 1, 1
	opts.PingInterval, opts.MaxPingsOut = leafPing, 2
	return nil
}

// enableStreams gives the streams their account: a server with several accounts
// gives them to none by itself.
func (o LeafOptions) enableStreams(srv *server.Server) error {
	if !o.on() {
		return nil
	}
	return srv.GlobalAccount().EnableJetStream(nil, nil)
}

// hubConnect connects to the account of the link.
func (s *Server) hubConnect(name string, log hclog.Logger) (*nats.Conn, error) {
	return nats.Connect("",
		nats.Name("epmesh hub"), nats.InProcessServer(s.srv), nats.UserInfo(hubUser, s.hubPassword),
		nats.CustomInboxPrefix(EdgeInbox(name)), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("hub connection", "error", err) }),
	)
}

// EdgeInbox is below what an edge node hears the hub's answers: the only subject
// that the hub has to let it subscribe to, with ".>".
func EdgeInbox(node string) string { return "epmesh.edge." + Token(node) }

// hubLink is the connection to the hub as the server has it now; ok is false
// where there is none.
func (s *Server) hubLink() (link server.LeafInfo, ok bool) {
	z, err := s.srv.Leafz(&server.LeafzOptions{Account: hubAccount})
	if err != nil || len(z.Leafs) == 0 {
		return link, false
	}
	return *z.Leafs[0], true
}

// leafLogger is the log of a server that is a leaf. It tries the hub once a
// second, and says each time why it failed: that is kept as the reason, and told
// once by whoever watches the link.
type leafLogger struct {
	serverLogger

	mu     sync.Mutex
	reason string
}

func (l *leafLogger) Errorf(f string, v ...any) {
	text := trimmed(f, v)
	if !strings.Contains(text, "lid:") && !strings.Contains(strings.ToLower(text), "leafnode") {
		l.l.Error(text)
		return
	}
	l.l.Debug(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reason = leafReason(text)
}

// leafReason is what of the server's text says why.
func leafReason(text string) string {
	for _, before := range []string{"): ", "handshake error: ", "Leafnode Error "} {
		if _, rest, ok := strings.Cut(text, before); ok {
			return strings.Trim(rest, "'")
		}
	}
	if i := strings.LastIndex(text, " - "); i >= 0 {
		return text[i+len(" - "):]
	}
	return text
}

func (l *leafLogger) why() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}

func (l *leafLogger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reason = ""
}
