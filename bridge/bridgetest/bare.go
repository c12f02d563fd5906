package bridgetest

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// bareWindow is how many messages a Bare has under way in each direction.
const bareWindow = 4096

// Bare is what benchmarks compare with: a plain JetStream client that moves one
// message a log, without ids, batches or retries, as fast as such a client can:
// in the server's process, publishing asynchronously with a wide window, with
// a deep prefetch, and with acks that nobody waits for.
type Bare struct {
	tb testing.TB
	nc *nats.Conn
	js jetstream.JetStream
}

// NewBare starts a server of its own, which syncs like one of ServerIn, and
// makes streams of these names, one subject and one consumer each.
func NewBare(tb testing.TB, sync time.Duration, streams ...string) *Bare {
	tb.Helper()
	opts := &server.Options{
		JetStream: true, StoreDir: tb.TempDir(), SyncAlways: sync == 0, SyncInterval: sync,
		DontListen: true, NoSigs: true, NoLog: true,
	}
	if sync == 0 {
		opts.SyncInterval = 2 * time.Minute
	}
	s, err := server.NewServer(opts)
	if err != nil {
		tb.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		tb.Fatal("nats server not ready")
	}
	tb.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	b := &Bare{tb: tb}
	if b.nc, err = nats.Connect("", nats.InProcessServer(s)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.nc.Close)
	if b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(bareWindow)); err != nil {
		tb.Fatal(err)
	}
	for _, name := range streams {
		if _, err := b.js.CreateStream(tb.Context(), jetstream.StreamConfig{
			Name: name, Subjects: []string{name}, Retention: jetstream.InterestPolicy, Discard: jetstream.DiscardNew,
		}); err != nil {
			tb.Fatal(err)
		}
		if _, err := b.js.CreateConsumer(tb.Context(), name, jetstream.ConsumerConfig{
			Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 2 * bareWindow,
		}); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// Stored is a message on its way to a stream.
type Stored struct{ future jetstream.PubAckFuture }

// Wait returns once it is there.
func (s Stored) Wait() error {
	select {
	case <-s.future.Ok():
		return nil
	case err := <-s.future.Err():
		return err
	}
}

// Publish sends one message to a stream, as soon as the window has room.
func (b *Bare) Publish(stream string, data []byte) (Stored, error) {
	f, err := b.js.PublishMsgAsync(&nats.Msg{Subject: stream, Data: data}, jetstream.WithStallWait(time.Minute))
	return Stored{f}, err
}

// Taken is one message of a stream.
type Taken struct{ msg jetstream.Msg }

// Data is its payload.
func (t Taken) Data() []byte { return t.msg.Data() }

// Ack acknowledges it and waits for nothing.
func (t Taken) Ack() { _ = t.msg.Ack() }

// Take gives n messages of a stream to f, one after the other.
func (b *Bare) Take(stream string, n int, f func(Taken) error) error {
	c, err := b.js.Consumer(b.tb.Context(), stream, "c")
	if err != nil {
		return err
	}
	it, err := c.Messages(jetstream.PullMaxMessages(bareWindow))
	if err != nil {
		return err
	}
	defer it.Stop()
	for range n {
		m, err := it.Next()
		if err != nil {
			return err
		}
		if err := f(Taken{m}); err != nil {
			return err
		}
	}
	return nil
}

// Hop moves n messages from one stream to another, each as work makes it anew,
// and acknowledges each once what came of it is stored. It returns when all are
// done.
func (b *Bare) Hop(from, to string, n int, work func([]byte) ([]byte, error)) error {
	type hop struct {
		in  Taken
		out Stored
	}
	hops := make(chan hop, bareWindow)
	var failed error
	var acker sync.WaitGroup
	acker.Go(func() {
		for h := range hops {
			if err := h.out.Wait(); err != nil {
				failed = err
				continue
			}
			h.in.Ack()
		}
	})
	err := b.Take(from, n, func(t Taken) error {
		data, err := work(t.Data())
		if err != nil {
			return err
		}
		out, err := b.Publish(to, data)
		if err == nil {
			hops <- hop{t, out}
		}
		return err
	})
	close(hops)
	acker.Wait()
	if err == nil {
		err = failed
	}
	return err
}
