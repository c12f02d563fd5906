package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options set up a Bridge. Exactly one of Server, URL and Context says where
// the streams are.
type Options struct {
	// Name is this node's name.
	Name string
	// Server is the embedded server, which the bridge does not shut down.
	Server *Server
	// URL is an external server, or several with commas.
	URL string
	// User and Password, or Credentials (a .creds file), go with URL.
	User, Password string
	Credentials    string
	// TLS is what is shown to the server at URL, and whom is trusted.
	TLS TLSFiles
	// Context is a context file of the nats command, read instead of URL.
	Context string

	// Survive is what Durability judges by; ExternalSync is the operator's word for
	// how the server at URL or Context syncs: "always", an interval, or "" where
	// nothing is known.
	Survive      Survive
	ExternalSync string

	Replicas   int
	MaxStore   int64         // of each stream, 0 for no limit
	Duplicates time.Duration // how long a stream knows the ids of what it stored
	AckWait    time.Duration // until the work of a silent node goes to another
	Attempts   int           // until an item is a dead letter
	BatchItems int
	BatchBytes int

	// Ping is how often the server is asked whether it is there, 0 for 5 s: one
	// that gives no answer twice is left for another.
	Ping time.Duration

	Logger hclog.Logger
}

// Bridge is a connection to JetStream. All its methods are safe for concurrent
// use.
type Bridge struct {
	opts Options
	log  hclog.Logger
	nc   *nats.Conn
	js   jetstream.JetStream

	maxPayload int
	pub        *publisher
	placed     demands
	link       atomic.Pointer[link]
	fewer      sync.Once // it was said that streams have more replicas than asked

	// ctx ends when the bridge is closed; work under way ends with it.
	ctx   context.Context
	close context.CancelFunc
	work  sync.WaitGroup
}

// Open connects. An external server that cannot be reached yet is tried again
// until ctx ends, and a cluster of embedded servers is waited for; wrong
// credentials are an error at once.
func Open(ctx context.Context, o Options) (*Bridge, error) {
	o = o.withDefaults()
	b := &Bridge{opts: o, log: o.Logger}
	b.link.Store(newLink())
	url, natsOpts, err := b.natsOptions()
	if err != nil {
		return nil, err
	}
	if o.Server != nil {
		if err := o.Server.awaitCluster(ctx, o.Logger); err != nil {
			return nil, err
		}
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if b.nc, err = nats.Connect(url, natsOpts...); err == nil {
			break
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			return nil, fmt.Errorf("connect to nats: %w (check nats.credentials, nats.context or the user in NATS_URL)", err)
		}
		b.log.Warn("nats cannot be reached, trying again", "error", err, "in", wait)
		if err := sleep(ctx, wait); err != nil {
			return nil, fmt.Errorf("connect to nats: %w", err)
		}
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncTimeout(storeTimeout)); err != nil {
		b.nc.Close()
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	b.maxPayload = int(b.nc.MaxPayload())
	b.ctx, b.close = context.WithCancel(context.Background())
	b.pub = newPublisher(b)
	return b, nil
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.Replicas, 1)
	def(&o.Attempts, 5)
	def(&o.BatchItems, 256)
	def(&o.BatchBytes, 512<<10)
	if o.Duplicates <= 0 {
		o.Duplicates = 2 * time.Minute
	}
	if o.Ping <= 0 {
		o.Ping = 5 * time.Second
	}
	if o.AckWait <= 0 {
		o.AckWait = 10 * time.Second
	}
	return o
}

func (b *Bridge) natsOptions() (string, []nats.Option, error) {
	o := &b.opts
	opts := []nats.Option{
		nats.Name("epmesh " + o.Name),
		nats.MaxReconnects(-1),
		// A server that stands still, or a network that swallows everything, tells
		// nobody; the client's own two minutes are a long time to store nothing.
		nats.PingInterval(o.Ping),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		// Nothing is buffered while the server is away: what was not stored is
		// held by whoever published it, and bounded there.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.link.Load().cancel()
			if err != nil {
				b.log.Warn("nats connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			close(b.link.Swap(newLink()).again)
			b.log.Info("nats connected again", "server", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			b.log.Warn("nats error", "error", err, "subject", subject)
		}),
	}
	switch {
	case o.Server != nil:
		return "", append(opts, o.Server.connectOptions()...), nil
	case o.Context != "":
		url, more, err := readContext(o.Context)
		return url, append(opts, more...), err
	case o.URL == "":
		return "", nil, errors.New("connect to nats: no server: set NATS_URL or nats.url, or use the embedded one")
	}
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, o.Password))
	}
	if o.Credentials != "" {
		opts = append(opts, nats.UserCredentials(o.Credentials))
	}
	config, err := o.TLS.client()
	if err != nil {
		return "", nil, fmt.Errorf("connect to nats: %w", err)
	}
	if config != nil {
		opts = append(opts, nats.Secure(config))
	}
	return o.URL, opts, nil
}

// readContext reads a context file of the nats command.
func readContext(file string) (string, []nats.Option, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", nil, fmt.Errorf("nats context: %w", err)
	}
	var c struct {
		URL, User, Password, Token, Creds, NKey, Cert, Key, CA string
		InboxPrefix                                            string `json:"inbox_prefix"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return "", nil, fmt.Errorf("nats context %s: %w", file, err)
	}
	if c.URL == "" {
		return "", nil, fmt.Errorf("nats context %s: it has no url", file)
	}
	var opts []nats.Option
	if c.User != "" {
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	}
	if c.Token != "" {
		opts = append(opts, nats.Token(c.Token))
	}
	if c.Creds != "" {
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		nkey, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return "", nil, fmt.Errorf("nats context %s: %w", file, err)
		}
		opts = append(opts, nkey)
	}
	if c.Cert != "" {
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	return c.URL, opts, nil
}

// Connected reports whether the server can be reached now.
func (b *Bridge) Connected() bool { return b.nc.IsConnected() }

// Server is the name of the server that the bridge is connected to.
func (b *Bridge) Server() string { return b.nc.ConnectedServerName() }

// MaxItem is the largest body that fits a stored message, in bytes.
func (b *Bridge) MaxItem() int { return b.maxPayload - headerRoom - batchSize(1, 0) }

// headerRoom is left in a message for its headers.
const headerRoom = 1 << 10

// Close ends what is under way and disconnects. Consumers have returned before.
func (b *Bridge) Close() {
	b.close()
	b.work.Wait()
	// What was sent but not answered, acks above all, goes out first.
	if b.nc.IsConnected() {
		_ = b.nc.FlushTimeout(2 * time.Second)
	}
	b.nc.Close()
}

// link is the connection from one loss to the next: an answer that was waited
// for when it was lost does not come any more.
type link struct {
	ctx    context.Context // ends when it is lost
	cancel context.CancelFunc
	again  chan struct{} // closed when the next one is there
}

func newLink() *link {
	l := &link{again: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
