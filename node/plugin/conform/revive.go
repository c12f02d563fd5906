package conform

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// dead reports whether the plugin has ended, given the error of a call.
func (k *called) dead(err error) bool {
	if err == nil {
		return false
	}
	if code := status.Code(err); code != codes.Unavailable && code != codes.Internal && code != codes.Canceled && code != codes.Unknown {
		return false
	}
	if k.run != nil {
		// The connection may break before the process has ended.
		return status.Code(err) == codes.Unavailable && k.run.awaitExit(500*time.Millisecond) || k.run.hasExited()
	}
	conn, err := dialUnix(k.opts.Socket)
	if err != nil {
		return true
	}
	conn.Close()
	return false
}

// fate is how a plugin that is dead ended.
func (k *called) fate() string {
	if k.run == nil {
		return "the socket is not served any more"
	}
	return k.run.end().Text + k.lines.lastWords()
}

// revive has the plugin there again after it died, as a node would: it starts
// it, or waits for whoever does. Without success there is no conn any more.
func (k *called) revive() bool {
	k.conn.close()
	k.conn = nil
	path := k.opts.Socket
	if k.run != nil {
		k.run.end()
		r, err := k.launch()
		if err != nil {
			return false
		}
		k.run = r
		if _, _, ok := k.awaitServing(k.opts.Start); !ok {
			return false
		}
		path = k.socket(k.kind)
	}
	for deadline := time.Now().Add(k.opts.Start); time.Now().Before(deadline) && k.ctx.Err() == nil; time.Sleep(20 * poll) {
		if conn, err := dial(k.ctx, path, k.opts.Call); err == nil {
			k.conn = conn
			return true
		}
	}
	k.tell("revive", Fail, "whoever starts the plugin should start it again", "it is not served again within %s", k.opts.Start)
	return false
}
