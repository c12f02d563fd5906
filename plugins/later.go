package plugins

import (
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Later is what a function of Options returns when it cannot do its work now and
// the item is not to blame: its target is away, or takes no more for a while. A
// node of this project gives the item back to its stream and counts no attempt,
// so that it never becomes a dead letter for that; others take it as any
// Unavailable. after is when it makes sense to come again, a hint. Safe for
// concurrent use.
//
// It is Unavailable with a google.rpc.RetryInfo, which plugins in other languages
// may answer as well.
func Later(after time.Duration, format string, args ...any) error {
	st := status.New(codes.Unavailable, fmt.Sprintf(format, args...))
	detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	if err != nil { // cannot be: both are messages
		return st.Err()
	}
	return detailed.Err()
}
