package stage

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
)

// Parser makes events of logs and drafts. Its handlers are called by many
// goroutines at once.
type Parser struct {
	pipelines atomic.Pointer[pipeline.Set]
	plugins   *plugin.Registry
	may       atomic.Pointer[func(plugin, subject string) bool]
	tallies   *Tallies
	flawed    atomic.Uint64
	vanished  atomic.Uint64
	restarts  *rate.Limiter
}

// NewParser makes a parser.
func NewParser(set *pipeline.Set, plugins *plugin.Registry, tallies *Tallies) *Parser {
	p := &Parser{plugins: plugins, tallies: tallies, restarts: rate.NewLimiter(restartsASec, restartsBurst)}
	p.Swap(set)
	return p
}

// Flaws are how many events carry errors of steps, and how many fields of drafts
// had no place in their event, since the start.
func (p *Parser) Flaws() (events, fields uint64) { return p.flawed.Load(), p.vanished.Load() }

// Swap puts another set of pipelines in place. A log that is on its way goes to
// its end with the set that it began with.
func (p *Parser) Swap(set *pipeline.Set) { p.pipelines.Store(set) }

// Restrict says which parsing plugins may be called on this node for an item of a
// subject; the others are taken to be elsewhere. Without it all may. The function
// is called by many goroutines at once.
func (p *Parser) Restrict(may func(plugin, subject string) bool) { p.may.Store(&may) }

// Log handles one log.
func (p *Parser) Log(ctx context.Context, item bridge.Item) ([]bridge.Item, error) {
	return p.run(ctx, item, item.Body, nil, "")
}

// Draft handles drafts that waited for a plugin of this node.
func (p *Parser) Draft(name string) bridge.Handler {
	return func(ctx context.Context, item bridge.Item) ([]bridge.Item, error) {
		var h pb.Handover
		if err := proto.Unmarshal(item.Body, &h); err != nil {
			return nil, bridge.Permanent(fmt.Errorf("read draft: %w", err))
		}
		if len(h.GetId()) != len(item.ID) {
			return nil, bridge.Permanent(fmt.Errorf("read draft: a log's id of %d bytes", len(h.GetId())))
		}
		return p.run(ctx, item, h.GetLog(), &h, name)
	}
}

func (p *Parser) run(ctx context.Context, item bridge.Item, logBytes []byte, from *pb.Handover, waits string) ([]bridge.Item, error) {
	var log pb.Log
	if err := proto.Unmarshal(logBytes, &log); err != nil {
		return nil, bridge.Permanent(fmt.Errorf("read log: %w", err))
	}
	set := p.pipelines.Load()
	// A log that comes again may find its plugin here and not be handed over:
	// either way it is the same event.
	logID, restarts := item.ID, uint32(0)
	if from != nil {
		copy(logID[:], from.GetId())
		restarts = from.GetRestarts()
	}
	dyn := func(ctx context.Context, t *pb.Transform) (*pb.Draft, error) { return p.call(ctx, item, waits, t) }
	var result pipeline.Result
	var err error
	if from != nil && from.GetPipelines() == set.Fingerprint() {
		result, err = set.Resume(ctx, log.GetDataType(), from.GetDraft(), dyn)
	} else {
		// Indexes into other pipelines mean nothing here: the log starts again.
		if from != nil {
			if err := p.settle(ctx, restarts); err != nil {
				return nil, err
			}
			restarts++
		}
		result, err = set.Run(ctx, &log, dyn)
	}
	var gone *elsewhere
	switch {
	case errors.As(err, &gone):
		h := &pb.Handover{Log: logBytes, Draft: result.Suspended, Pipelines: set.Fingerprint(), Id: logID[:], Restarts: restarts}
		return handOver(item, &log, gone.plugin, h)
	case errors.Is(err, pipeline.ErrDraft):
		return nil, bridge.Permanent(err)
	case err != nil:
		return nil, err
	case result.Dropped:
		return p.tallies.one(TopicParsingDropped, log.GetDataType(), log.GetDataSource(), as(item, logID)), bridge.ErrDropped
	}
	if result.Errors > 0 {
		p.flawed.Add(1)
	}
	p.vanished.Add(uint64(result.Unknown))
	event := bridge.Item{
		ID: logID.Derive("event", 0), Subject: eventSubject(result.Event, &log), Received: item.Received, Body: result.Event,
	}
	return append(p.tallies.one(TopicEnqueueSuccess, log.GetDataType(), log.GetDataSource(), as(item, logID)), event), nil
}

// eventSubject goes by what the event says, which a pipeline may have changed.
func eventSubject(event []byte, log *pb.Log) string {
	f, err := wire.ScanEvent(event)
	if err != nil {
		return bridge.EventSubject(log.GetTenantId(), log.GetDataType())
	}
	return bridge.EventSubject(string(f.TenantID), string(f.DataType))
}

// elsewhere says that a dynamic step needs a plugin that this node does not
// have now, or may not call.
type elsewhere struct{ plugin string }

func (e *elsewhere) Error() string { return fmt.Sprintf("parsing plugin %q is not here", e.plugin) }

// call does a dynamic step. The plugin's own error is the pipeline's to note on
// the event; what says nothing about the log stops the run. A draft that waits
// for a plugin, as one taken from that plugin's own consumer does, is not
// handed over to it again.
func (p *Parser) call(ctx context.Context, item bridge.Item, waits string, t *pb.Transform) (*pb.Draft, error) {
	name := t.GetStep().GetDynamic().GetPlugin()
	if may := p.may.Load(); may != nil && waits != name && !(*may)(name, item.Subject) {
		return nil, pipeline.Halt(&elsewhere{name})
	}
	client := p.plugins.Client(plugin.Parsing, name)
	var draft *pb.Draft
	parse := func() (err error) {
		draft, err = client.ParseLog(ctx, t, options(item))
		return err
	}
	var err error
	if waits == name {
		err = await(ctx, client, parse)
	} else if err = parse(); plugin.Class(err) == plugin.Absent {
		return nil, pipeline.Halt(&elsewhere{name})
	}
	if err == nil {
		return draft, nil
	}
	if text, ok := plugin.Answered(err); ok {
		return nil, errors.New(text)
	}
	return nil, pipeline.Halt(verdict(item, err))
}

// handOver makes the draft an item that waits for its plugin: it is taken by
// whichever node has it. Its identity derives from what it was made of, not from
// the log: where nodes have different pipelines a draft may come to one plugin
// twice on its way, and the second must not pass for a repetition of the first.
func handOver(item bridge.Item, log *pb.Log, name string, h *pb.Handover) ([]bridge.Item, error) {
	body, err := proto.Marshal(h)
	if err != nil {
		return nil, bridge.Permanent(fmt.Errorf("hand draft over: %w", err))
	}
	return []bridge.Item{{
		ID:      item.ID.Derive("draft "+name, int(h.GetDraft().GetPipeline())<<16|int(h.GetDraft().GetStep())),
		Subject: bridge.DraftSubject(name, log.GetTenantId(), log.GetDataType()), Received: item.Received, Body: body,
	}}, nil
}

// as is the item under another identity.
func as(item bridge.Item, id bridge.ID) bridge.Item {
	item.ID = id
	return item
}

// Nodes that are given new files one after the other are of different minds for a
// moment: a log starts again twice at once. What does so more often shares a pace
// with all such logs of the node: else nodes with different pipelines, of which
// neither has all plugins, would pass logs to and fro as fast as they can.
const (
	freeRestarts  = 2
	restartsASec  = 200
	restartsBurst = restartsASec / 10
)

// settle waits for the turn of a log that starts again.
func (p *Parser) settle(ctx context.Context, restarts uint32) error {
	if restarts < freeRestarts {
		return nil
	}
	return p.restarts.Wait(ctx)
}
