package offline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

// door is the way to one plugin.
type door struct {
	name   string
	client *plugin.Client

	mu     sync.Mutex
	away   time.Time // since when calls find nobody; zero if the last one did
	told   bool
	missed int // calls that nobody took
}

// call does a dynamic step. The plugin's own error, and that it is not there,
// are the pipeline's to note on the event. What a node would make a dead letter
// of stops the run: an item that the plugin died over again and again, or gave
// no answer to.
func (r *Runner) call(ctx context.Context, t *pb.Transform) (*pb.Draft, error) {
	d := r.doors[t.GetStep().GetDynamic().GetPlugin()]
	var options plugin.CallOptions
	for deaths := 0; ; {
		draft, err := d.client.ParseLog(ctx, t, options)
		class := plugin.Class(err)
		if class == plugin.Absent {
			if d.wait(ctx, r.opts.Wait) {
				continue
			}
			if ctx.Err() != nil {
				return nil, pipeline.Halt(ctx.Err())
			}
			return nil, r.miss(d)
		}
		d.answered()
		if class == plugin.OK {
			return draft, nil
		}
		if class == plugin.Lost {
			if deaths++; deaths < plugin.DeadlyAttempts {
				options.Exclusive = true
				continue
			}
		}
		if text, ok := plugin.Answered(err); ok {
			return nil, errors.New(text)
		}
		return nil, pipeline.Halt(err)
	}
}

// wait waits until the plugin may be there again: for as long as is left of
// atMost since it was found to be away.
func (d *door) wait(ctx context.Context, atMost time.Duration) bool {
	d.mu.Lock()
	if d.away.IsZero() {
		d.away = time.Now()
	}
	until := d.away.Add(atMost)
	d.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if d.client.WaitLive(ctx) != nil {
		return false
	}
	// It may come and go in a loop.
	pause := time.NewTimer(time.Millisecond)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *door) answered() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = time.Time{}
}

// miss notes a call that nobody took; its error is for the event.
func (r *Runner) miss(d *door) error {
	d.mu.Lock()
	d.missed++
	first := !d.told
	d.told = true
	d.mu.Unlock()
	if first {
		r.opts.Tell(fmt.Sprintf("parsing plugin %s is not there, which is noted on the events that need it: %s", d.name, r.cure(d.name)))
	}
	return errAway
}

var errAway = errors.New("is not there")

// Missed is how many calls found their plugin away, by its name.
func (r *Runner) Missed() map[string]int {
	missed := map[string]int{}
	for name, d := range r.doors {
		d.mu.Lock()
		if d.missed > 0 {
			missed[name] = d.missed
		}
		d.mu.Unlock()
	}
	return missed
}
