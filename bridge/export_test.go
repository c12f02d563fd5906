package bridge

import (
	"testing"

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
