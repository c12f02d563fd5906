package engine

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/epmesh/epmesh/bridge"
)

// Defaults of Options.
const (
	DefaultMaxLog      = 1 << 20
	DefaultMaxBuffered = 64 << 20
	DefaultWindow      = 4
	DefaultTenant      = "default"
	DefaultDrain       = 3 * time.Second
)

// HardLimit is the most bytes a log or message may have for the socket to
// receive it at all. Between MaxLog and this it becomes a dead letter; above
// it gRPC ends the stream with RESOURCE_EXHAUSTED, since something must bound
// the memory of one receive. A MaxLog above half of it raises it to twice
// MaxLog.
const HardLimit = 64 << 20

// Options say how an engine socket behaves. Dir, Publisher and Dead must be
// set; zero values of the others mean their defaults.
type Options struct {
	// Dir is the work dir; the socket is Dir/sockets/engine_server.sock.
	Dir string
	// Publisher stores logs and messages. How long Publish takes is how late
	// the Acks are.
	Publisher bridge.Publisher
	// Dead stores what is refused.
	Dead DeadLetters
	// Tenant is the tenantId of logs that have none.
	Tenant string
	// MaxLog is the most bytes of a log or message in wire form.
	MaxLog int
	// MaxBuffered bounds the bytes that were taken and are not stored yet, of
	// all streams together. Beyond it each stream holds the one log it waits to
	// have room for, and gRPC its flow-control windows.
	MaxBuffered int
	// Window is how many Publish calls a stream has under way at once.
	Window int
	// Drain bounds how long Serve goes on storing, once its ctx has ended, what
	// was taken before.
	Drain time.Duration
	// Log is where the server writes its own log.
	Log hclog.Logger
}

func (o Options) withDefaults() Options {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.MaxLog, DefaultMaxLog)
	def(&o.MaxBuffered, DefaultMaxBuffered)
	def(&o.Window, DefaultWindow)
	if o.Tenant == "" {
		o.Tenant = DefaultTenant
	}
	if o.Drain <= 0 {
		o.Drain = DefaultDrain
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return o
}

// Stage is the stage that refused logs and messages are dead letters of.
const Stage = "input"

// Refused is a log or message that cannot be taken.
type Refused struct {
	// ID is its identity.
	ID bridge.ID
	// Received is when it came, Unix nanoseconds.
	Received int64
	// Subject is where it would have gone, as far as its fields can be read.
	Subject string
	// Reason says what is wrong with it, for people.
	Reason string
	// Body is what came. Where it is well-formed protobuf, its missing fields
	// are filled in like those of a log that is taken.
	Body []byte
}

// DeadLetters keeps what is refused.
type DeadLetters interface {
	// Dead returns once all is stored, or with an error when it is not; it is
	// then called again, until ctx ends. Safe for concurrent use.
	Dead(ctx context.Context, refused ...Refused) error
}
