package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestPassing(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{context.DeadlineExceeded, true},
		{nats.ErrNoResponders, true},
		{nats.ErrDisconnected, true},
		{jetstream.ErrNoStreamResponse, true},
		{&jetstream.APIError{Code: 503, ErrorCode: 10008, Description: "system temporarily unavailable"}, true},
		{&jetstream.APIError{Code: 503, ErrorCode: 10023, Description: "insufficient resources"}, true},
		{&jetstream.APIError{Code: 400, ErrorCode: 10005, Description: "no suitable peers for placement"}, true},
		{&jetstream.APIError{Code: 500, ErrorCode: 10051, Description: "write meta.inf.tmp: no space left on device"}, true},
		{&jetstream.APIError{Code: 500, ErrorCode: 10074, Description: "replicas > 1 not supported in non-clustered mode"}, false},
		{&jetstream.APIError{Code: 400, ErrorCode: 10058, Description: "stream name already in use"}, false},
		{nats.ErrAuthorization, false},
		{nats.ErrPermissionViolation, false},
		{context.Canceled, false},
	} {
		if got := bridge.Passing(fmt.Errorf("stream: %w", test.err)); got != test.want {
			t.Errorf("%v passes: %t", test.err, got)
		}
	}
}

// A cluster without a leader is waited for; what does not pass, and the end of
// the context, are not.
func TestPatiently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		away := func(context.Context) error {
			if calls++; calls < 20 {
				return &jetstream.APIError{Code: 503, ErrorCode: 10008}
			}
			return nil
		}
		if err := bridge.Patiently(t.Context(), away); err != nil || calls != 20 {
			t.Errorf("%d calls: %v", calls, err)
		}
		wrong := errors.New("wrong")
		if err := bridge.Patiently(t.Context(), func(context.Context) error { return wrong }); !errors.Is(err, wrong) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dated := false
		if err := bridge.Patiently(ctx, func(ctx context.Context) error {
			_, dated = ctx.Deadline()
			return nats.ErrNoResponders
		}); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("at the end of the context: %v", err)
		}
		if dated {
			t.Error("the client would wait for one answer until the end of the context")
		}
	})
}
