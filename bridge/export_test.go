package bridge

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
)

// Bare connects to the embedded server without a bridge.
func (s *Server) Bare(tb testing.TB) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect("", s.connectOptions()...)
	if err != nil {
		tb.Fatal(err)
	}
	return nc
}

// Passing and Patiently are what Ensure waits by.
func Passing(err error) bool { return passing(err) }

func Patiently(ctx context.Context, f func(context.Context) error) error {
	b := &Bridge{log: hclog.NewNullLogger()}
	return b.patiently(ctx, f)
}

// Conn is the connection to the hub's account.
func (h *Hub) Conn() *nats.Conn { return h.nc }

// Mutual is the configuration of a server that checks the other side.
func (f TLSFiles) Mutual() (*tls.Config, error) { return f.mutual() }
