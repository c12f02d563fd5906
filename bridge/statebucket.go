package bridge

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// What plugins share between nodes lies in one bucket, laid out as the KV stores
// of NATS are, so that their tools can read it. The node makes it; plugins may
// read and write its keys and nothing else.
const (
	// StateBucket is its name.
	StateBucket = "EPMESH_STATE"
	// stateStream is the stream below it.
	stateStream = "KV_" + StateBucket

	subjectState = "$KV." + StateBucket + "."
	// stateInbox is where answers for plugins come in: apart from everybody
	// else's, so that they cannot listen to those.
	stateInbox = "_INBOX_" + StateBucket
	// MaxStateAge bounds what a key may be kept for after it was last written.
	MaxStateAge = 90 * 24 * time.Hour
)

// statePermissions are all that a user needs who may use the state, and ask and
// answer among the processes of a plugin, and nothing else.
func statePermissions() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			subjectState + ">", "$JS.API.STREAM.INFO." + stateStream,
			"$JS.API.DIRECT.GET." + stateStream + ".>", "$JS.API.STREAM.MSG.GET." + stateStream,
			subjectHistory + ">",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{stateInbox + ".>", subjectHistory + ">"}},
		// One answer to each request, where that asks for it.
		Response: &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute},
	}
}

// ensureState makes the bucket. A server before 2.11 does not know of keys that
// expire one by one; there all are kept for MaxStateAge.
func (b *Bridge) ensureState(ctx context.Context) error {
	cfg := bucket{b, StateBucket}.config()
	cfg.MaxAge = MaxStateAge
	// With replicas a direct answer may come from one that is behind, and a key that
	// is not there yet would seem to be none: the leader is asked.
	cfg.AllowDirect = b.opts.Replicas <= 1
	if b.opts.MaxStore > 0 {
		cfg.MaxBytes = b.opts.MaxStore
	}
	return b.ensureConfig(ctx, "bucket "+StateBucket, cfg)
}

// stateToken is Token in the letters that a key of a KV store may have.
func stateToken(value string) string {
	return strings.NewReplacer("%", "=", "~", "-").Replace(Token(value))
}
