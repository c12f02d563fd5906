package integration

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
)

// book is what a receiver got: how often each message, by its id.
type book struct {
	mu   sync.Mutex
	got  map[string]int
	when time.Time // the last new one
}

func newBook() *book { return &book{got: map[string]int{}} }

func (b *book) note(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.got[id]++; b.got[id] == 1 {
		b.when = time.Now()
	}
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

func (b *book) last() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.when
}

// check holds the book against the messages that were sent.
func (b *book) check(t *testing.T, name string, sent []string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	lost, doubled := 0, 0
	for _, id := range sent {
		switch n := b.got[id]; {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
	}
	if lost > 0 || doubled > 0 || len(b.got) != len(sent) {
		t.Errorf("%s: of %d messages %d are lost and %d came more than once; it has %d", name, len(sent), lost, doubled, len(b.got))
	}
}

// ServeHTTP takes a message of a webhook.
func (b *book) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	b.note(r.Header.Get("Idempotency-Key"))
	w.WriteHeader(http.StatusNoContent)
}

// serveHTTP is a web server at an address, "127.0.0.1:0" for any.
func (b *book) serveHTTP(t *testing.T, addr string) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: b, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	stop = sync.OnceFunc(func() {
		s.Close()
		<-ended
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// letterbox takes the mails of a server.
type letterbox struct{ *book }

func (letterbox) Reset()                               {}
func (letterbox) Logout() error                        { return nil }
func (letterbox) Mail(string, *smtp.MailOptions) error { return nil }
func (letterbox) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (b letterbox) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(line, "Message:     "); ok {
			b.note(strings.TrimSpace(id))
		}
	}
	return nil
}

func (b *book) serveSMTP(t *testing.T) string {
	t.Helper()
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return letterbox{b}, nil }))
	s.ErrorLog = log.New(io.Discard, "", 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return l.Addr().String()
}

// hole takes connections at an address and says nothing.
func hole(t *testing.T, addr string) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var held []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				for _, c := range held {
					c.Close()
				}
				return
			}
			held = append(held, conn)
		}
	}()
	stop = sync.OnceFunc(func() {
		l.Close()
		<-ended
	})
	t.Cleanup(stop)
	return stop
}

// One of three receivers refuses connections, then says nothing, for far longer
// than the node's attempts would last. The others get what is theirs in the
// meantime as if nothing was, it gets all when it is back, and nothing is lost,
// doubled or a dead letter. The receivers' own books are the record.
func TestUnreachableReceiver(t *testing.T) {
	t.Parallel()
	const each = 150
	alive, dead, post := newBook(), newBook(), newBook()
	aliveAt, _ := alive.serveHTTP(t, "127.0.0.1:0")
	deadAt, stopDead := dead.serveHTTP(t, "127.0.0.1:0")
	dir := shortdir.New(t)
	configure(t, dir, fmt.Sprintf(`
plugins:
  notification: {order: [alive, dead, mail]}
  alive: {bundled: webhook, url: "http://%s/", timeout: 1s, retryFor: 1s}
  dead: {bundled: webhook, url: "http://%s/", timeout: 1s, retryFor: 1s}
  mail: {bundled: email, server: "%s", security: none, from: mesh@epmesh.test, to: [ops@example.test], plain: true}
`, aliveAt, deadAt, post.serveSMTP(t)))
	// Two attempts would be over within seconds.
	n := startNode(t, dir, "EPMESH_STAGES_ATTEMPTS=2").await()
	o := observe(t, dir)
	notifier, err := plugins.NewNotifier(plugins.SenderOptions{Name: "test", Dir: dir, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = notifier.Close(ctx)
	}()
	var sent []string
	// phase sends messages and returns how long those that are well took for all.
	phase := func(others ...*book) (took time.Duration) {
		t.Helper()
		began := time.Now()
		for range each {
			id := fmt.Sprint("message-", len(sent))
			err := notifier.Store(t.Context(), &pb.Message{Id: id, Topic: "incidents", Message: `{"name":"N","severity":"high"}`})
			if err != nil {
				t.Fatal(err)
			}
			sent = append(sent, id)
		}
		for _, b := range others {
			eventually(t, "a receiver that is well has all", func() bool { return b.count() == len(sent) })
			took = max(took, b.last().Sub(began))
		}
		return took
	}
	well := phase(alive, post, dead)
	stopDead()
	refused := phase(alive, post)
	fill := hole(t, deadAt)
	silent := phase(alive, post)
	// It stays away until each of its messages has used up two attempts many times
	// over: in-call patience is a second.
	held := time.Now()
	eventually(t, "it is away for long enough", func() bool { return time.Since(held) > 8*time.Second })
	if got := dead.count(); got != each {
		t.Errorf("the receiver that is away has %d messages", got)
	}
	fill()
	back := time.Now()
	_, _ = dead.serveHTTP(t, deadAt)
	eventually(t, "the receiver that was away has all", func() bool { return dead.count() == len(sent) })
	for name, b := range map[string]*book{"alive": alive, "dead": dead, "mail": post} {
		b.check(t, name, sent)
	}
	if letters := o.stream(bridge.StreamDead).State.Msgs; letters > 0 {
		t.Errorf("%d dead letters", letters)
	}
	// The machine is shared: what is to be seen is that nobody waits for time-outs.
	if limit := 4*well + 5*time.Second; refused > limit || silent > limit {
		t.Errorf("the others took %s, and with one away %s and %s", well, refused, silent)
	}
	t.Logf("%d messages to 3 receivers; the well ones took %s for %d with all there, %s with one refusing, %s with one silent; it had the rest %s after its return; lost 0, doubled 0, dead letters 0",
		len(sent), well.Round(time.Millisecond), each, refused.Round(time.Millisecond), silent.Round(time.Millisecond), dead.last().Sub(back).Round(100*time.Millisecond))
	n.stop()
}
