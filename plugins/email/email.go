// Package email is the bundled notification plugin that mails messages, each by
// itself or many in a digest.
//
// A call is answered with success once the mail server has taken the mail, or,
// where the message waits for a digest, once it is on the disk.
package email

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/mail"
	"path/filepath"
	"sync"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/internal/delivery"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	askAgain = 5 * time.Second // what the node is told
	// leastPatience is what a mail gets for its turn, whatever retryFor says.
	leastPatience = 500 * time.Millisecond
)

// mailer is the running plugin.
type mailer struct {
	plugins.Instance
	Settings
	from      *mail.Address
	templates *templates
	server    *server
	gate      *delivery.Gate
	once      *delivery.Once // what is on its way
	spool     *spool
	added     chan struct{} // a message was added to the spool
	stopping  chan struct{} // closed when the plugin stops

	mu      sync.Mutex
	trouble string    // what the last digest failed with
	said    time.Time // when that was last logged
}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	s.Hello = cmp.Or(s.Hello, i.Host, "localhost")
	s.Subject = cmp.Or(s.Subject, defaultSubject)
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	t, err := s.templates()
	if err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	from, err := parseAddress(s.From)
	if err != nil {
		return nil, fmt.Errorf("plugins.%s: from: %w", i.Name, err)
	}
	return &mailer{
		Instance: i, Settings: s, from: from, templates: t, server: newServer(s, i.Logger),
		gate: delivery.NewGate(), once: delivery.NewOnce(0), added: make(chan struct{}, 1), stopping: make(chan struct{}),
	}, nil
}

// Run serves until ctx ends.
func (m *mailer) Run(ctx context.Context) error {
	path := filepath.Join(m.Dir, "state", m.Name, "spool")
	var err error
	if m.spool, err = openSpool(path, m.Digest.MaxKept, m.Digest.MaxKeptBytes, m.Logger); err != nil {
		return fmt.Errorf("plugins.%s: %w", m.Name, err)
	}
	stop := context.AfterFunc(ctx, func() { close(m.stopping) })
	defer stop()
	work, end := context.WithCancel(ctx)
	var digests sync.WaitGroup
	digests.Go(func() { m.digests(work) })
	err = plugins.Serve(ctx, plugins.Options{Name: m.Name, Dir: m.Dir, Logger: m.Logger, Notify: m.notify})
	end()
	digests.Wait()
	m.server.quit()
	return errors.Join(err, m.spool.close())
}

// notify mails one message, or keeps it for the digest. One that was mailed or
// kept before is done; one that comes again while it is on its way waits for how
// that ends.
func (m *mailer) notify(ctx context.Context, msg *pb.Message) error {
	if !matches(m.Topics, msg.GetTopic()) {
		return nil
	}
	c := delivery.Read(msg)
	if m.Digest.Every > 0 && !hasSeverity(m.Digest.Immediate, c.Severity) {
		return m.keep(msg)
	}
	key := delivery.KeyOf(msg.GetId(), msg.GetTopic())
	return m.once.Do(ctx, key, func() error {
		if m.spool.has(key) {
			return nil
		}
		if err := m.post(ctx, m.route(c), []delivery.Content{c}, []delivery.Key{key}); err != nil {
			return err
		}
		if err := m.spool.done([]delivery.Key{key}); err != nil {
			m.Logger.Warn("mailed, but that could not be written down: after a restart it may be mailed again", "message", msg.GetId(), "error", err)
		}
		return nil
	})
}

// keep puts a message into the spool.
func (m *mailer) keep(msg *pb.Message) error {
	switch err := m.spool.put(msg, time.Now()); {
	case errors.Is(err, errFull):
		text := "too many messages wait for the digest (settings digest.maxKept, digest.maxKeptBytes)"
		if t := m.inTrouble(); t != "" {
			text += ": " + t
		}
		return plugins.Later(askAgain, "%s", text)
	case err != nil:
		return plugins.Later(askAgain, "%v", err)
	}
	select {
	case m.added <- struct{}{}:
	default:
	}
	return nil
}

// post mails messages in one mail, in as many attempts as there is time for. Its
// error tells the node what to do.
func (m *mailer) post(ctx context.Context, to recipients, messages []delivery.Content, keys []delivery.Key) error {
	text, err := m.write(to, messages, keys)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "write mail: %v", err)
	}
	wait, cancel := context.WithTimeout(ctx, max(m.RetryFor.D(), leastPatience))
	defer cancel()
	go func() {
		select {
		case <-m.stopping:
			cancel()
		case <-wait.Done():
		}
	}()
	last := answer{away, "no attempt could be made: others go before it, or the mail server is away"}
	for {
		a, err := m.attempt(ctx, wait, to, text)
		if err != nil {
			break
		}
		last = a
		switch a.outcome {
		case sent:
			return nil
		case refused:
			return status.Error(codes.InvalidArgument, a.text)
		case mistaken:
			return status.Error(codes.Unavailable, a.text)
		case deferred:
			return plugins.Later(time.Minute, "%s", a.text)
		}
		m.Logger.Debug("mailing again", "error", a.text)
	}
	return plugins.Later(askAgain, "%s", last.text)
}

// attempt makes one attempt when it is this mail's turn; the error says that wait
// or ctx ended and that nothing is known.
func (m *mailer) attempt(ctx, wait context.Context, to recipients, text []byte) (answer, error) {
	if err := m.server.take(wait); err != nil {
		return answer{}, err
	}
	defer m.server.give()
	began, err := m.gate.Enter(wait)
	if err != nil {
		return answer{}, err
	}
	// Once begun an attempt has its own time.
	a := m.server.send(ctx, m.from.Address, to.all(), text)
	if err := ctx.Err(); err != nil && a.outcome == away {
		m.gate.Abandon()
		return answer{}, err
	}
	switch news := m.gate.Leave(began, a.outcome == away, 0); {
	case news && a.outcome == away:
		m.Logger.Warn("the mail server takes nothing now; messages wait for it", "error", a.text)
	case news:
		m.Logger.Info("the mail server answers again")
	}
	return a, nil
}

func (m *mailer) write(to recipients, messages []delivery.Content, keys []delivery.Key) ([]byte, error) {
	p, err := m.templates.write(messages)
	if err != nil {
		return nil, err
	}
	return compose(m.from, to, mailID(keys, m.from), p, time.Now())
}

func (m *mailer) inTrouble() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trouble
}

// setTrouble notes what is wrong, "" for nothing, and reports whether it is time
// to say it.
func (m *mailer) setTrouble(text string) (say bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	say = text != "" && (text != m.trouble || time.Since(m.said) > time.Minute)
	if m.trouble = text; say {
		m.said = time.Now()
	}
	return say
}
