package bridge

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Codes of a cluster that is not whole: too few of its servers are there to hold
// all copies, or to choose a leader; they are those of the server's errors.json.
const (
	errNoPeers      jetstream.ErrorCode = 10005
	errNotActive    jetstream.ErrorCode = 10006 // JetStream is not clustered yet
	errNotLeader    jetstream.ErrorCode = 10009
	errNoMember     jetstream.ErrorCode = 10044 // the server is not one of the cluster yet
	errOffline      jetstream.ErrorCode = 10118 // the stream's servers are away
	errMoving       jetstream.ErrorCode = 10124 // its replicas are being changed already
	errNotAvailable int                 = 503
)

// diskFull is how a server's answer ends whose disk is.
const diskFull = "no space left on device"

// patienceTell is how often it is said what is waited for.
const patienceTell = 10 * time.Second

// passing reports whether asking again may mend err: the server is away, or its
// cluster has no leader now.
func passing(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case errNoPeers, errNotActive, errNotLeader, errNoMember, errOffline, errMoving:
			return true
		}
		return api.Code == errNotAvailable || strings.Contains(api.Description, diskFull)
	}
	for _, e := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// undated ends as its context does and tells nobody when. The client waits for an
// answer until the deadline of what it is given, if there is one, and else 5 s: an
// answer that went with the server that was to give it would be waited for through
// all the time there is to ask again.
type undated struct{ context.Context }

func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

// patiently calls f until it gives nil or an error that does not pass, or ctx
// ends. What f asks under its own context is given up when no answer comes. What is
// waited for is said at once and then now and again; with a cluster of embedded
// servers also who is missing.
func (b *Bridge) patiently(ctx context.Context, f func(context.Context) error) error {
	told := time.Time{}
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := f(undated{ctx})
		if err == nil || ctx.Err() != nil || !passing(err) {
			if !told.IsZero() && err == nil {
				b.log.Info("the streams can be reached again")
			}
			return err
		}
		if time.Since(told) > patienceTell {
			told = time.Now()
			args := []any{"error", err}
			if s := b.opts.Server; s != nil && s.cluster.on() {
				args = append(args, "cluster", s.missing(ctx), "nats.replicas", b.opts.Replicas)
			}
			b.log.Warn("the streams cannot be reached, trying again until they can be: are enough servers of the cluster up, and their disks not full?", args...)
		}
		if sleep(ctx, wait) != nil {
			return err
		}
	}
}
