package stage

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
)

// AwaitPlugin is how long an item waits for its plugin to come back before it
// is given back to the stream. A plugin that is started again is back sooner,
// and the item that it died over is then tried alone.
const AwaitPlugin = 30 * time.Second

// await makes a call once the plugin is there. A call that found it gone has
// not been made, and is made again when it is back.
func await(ctx context.Context, client *plugin.Client, call func() error) error {
	if client.Live() {
		if err := call(); plugin.Class(err) != plugin.Absent {
			return err
		}
	}
	wait, cancel := context.WithTimeout(ctx, AwaitPlugin)
	defer cancel()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		_ = client.WaitLive(wait)
		err := call()
		if plugin.Class(err) != plugin.Absent || wait.Err() != nil {
			return err
		}
		// It may be live again and gone again.
		select {
		case <-wait.Done():
		case <-time.After(pause):
		}
	}
}
