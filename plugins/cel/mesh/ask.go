package mesh

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
)

// Transport reaches the other instances. Its methods are called by many goroutines
// at once.
type Transport interface {
	// List names the nodes of those that are to be asked; ok is false while it is
	// not known who there is.
	List() (nodes []string, ok bool)
	// Ask asks one of them.
	Ask(ctx context.Context, node string, request []byte) ([]byte, error)
}

// Options make a History.
type Options struct {
	// Self is the node that this instance is on.
	Self  string
	Local history.Store
	// Transport may be set later, by Join, once this one can answer.
	Transport Transport
	// Wait bounds the wait for the others; Bytes the events of an answer.
	Wait   time.Duration
	Bytes  int
	Logger hclog.Logger
}

// History is one instance's share of the history of all nodes. It is safe for
// concurrent use.
type History struct {
	self      string
	local     history.Store
	transport Transport
	wait      time.Duration
	bytes     int
	log       hclog.Logger
	order     *order

	mu    sync.Mutex
	known map[string]*patience
}

// New makes a History.
func New(o Options) *History {
	h := &History{
		self: o.Self, local: o.Local, transport: o.Transport, wait: o.Wait, bytes: o.Bytes, log: o.Logger,
		order: newOrder(o.Local.Stats().Next, time.Now), known: map[string]*patience{},
	}
	if h.log == nil {
		h.log = hclog.NewNullLogger()
	}
	return h
}

// Join sets the way to the others. It is called once, before the first question.
func (h *History) Join(t Transport) { h.transport = t }

// Stamp is to be called for each event that was kept, with its place, before it is
// looked at. It is the event's place in the order of all nodes.
func (h *History) Stamp(place uint64) uint64 { return h.order.of(place) }

// Alone reports whether there is nobody to ask.
func (h *History) Alone() bool {
	nodes, ok := h.transport.List()
	return ok && len(nodes) == 0
}

// Round is one question to all others on behalf of an event, under way. Its methods
// are called by one goroutine at a time, and Done at the end.
type Round struct {
	h       *History
	queries []history.Query
	cancel  context.CancelFunc
	answers chan reply
	left    int
	found   map[string]*pb.HistoryAnswer
	missing []string
}

// reply is what came of one question.
type reply struct {
	node   string
	answer *pb.HistoryAnswer
	err    error
}

// Ask asks the others all queries for an event with this stamp, and does not wait.
func (h *History) Ask(ctx context.Context, event string, stamp uint64, queries []history.Query) *Round {
	nodes, ok := h.transport.List()
	r := &Round{h: h, queries: queries, found: map[string]*pb.HistoryAnswer{}, cancel: func() {}}
	if !ok {
		r.missing = append(r.missing, "history of other nodes is missing: it is not known yet who there is")
		return r
	}
	request := &pb.HistoryRequest{
		Version: version, Node: h.self, Stamp: stamp, Event: event,
		Wait: uint32(min(h.wait.Milliseconds(), math.MaxUint32)), Bytes: uint32(h.bytes),
	}
	for _, q := range queries {
		request.Searches = append(request.Searches, searchOf(q))
	}
	data, err := proto.Marshal(request)
	if err != nil {
		r.miss("all other nodes", err)
		return r
	}
	r.answers = make(chan reply, len(nodes))
	ctx, r.cancel = context.WithTimeout(ctx, h.wait)
	for _, node := range nodes {
		p := h.patience(node)
		if !p.begin(h.order.wall()) {
			r.miss(node, errors.New("it did not answer lately"))
			continue
		}
		r.left++
		go func() {
			answer, err := h.ask(ctx, p, node, data, len(queries))
			r.answers <- reply{node, answer, err}
		}()
	}
	return r
}

// Meet asks the others nothing, so that the clocks agree.
func (h *History) Meet(ctx context.Context) {
	r := h.Ask(ctx, "", h.order.clock(), nil)
	defer r.Done()
	_ = r.gather(ctx) // whoever does not answer is as away as later
}

func (h *History) patience(node string) *patience {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.known[node]
	if p == nil {
		p = new(patience)
		h.known[node] = p
	}
	return p
}

// ask asks one and says what became of it.
func (h *History) ask(ctx context.Context, p *patience, node string, request []byte, searches int) (*pb.HistoryAnswer, error) {
	data, err := h.transport.Ask(ctx, node, request)
	var answer *pb.HistoryAnswer
	if err == nil {
		answer, err = readAnswer(data, searches)
	}
	if err == nil {
		if _, ok := h.order.saw(answer.Stamp); !ok {
			err = errors.New("its clock is more than ten years ahead")
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("it did not answer within %s", h.wait)
	}
	switch news := p.end(h.order.wall(), err == nil, err != nil && errors.Is(ctx.Err(), context.Canceled)); {
	case news && err != nil:
		h.log.Warn("another node does not answer; searches go on without its events, and alerts say so", "node", node, "error", err)
	case news:
		h.log.Info("another node answers again", "node", node)
	}
	return answer, err
}

func (r *Round) miss(node string, err error) {
	r.missing = append(r.missing, fmt.Sprintf("history of node %s is missing: %v", node, err))
}

// gather waits for those who were asked.
func (r *Round) gather(ctx context.Context) error {
	for ; r.left > 0; r.left-- {
		select {
		case a := <-r.answers:
			if a.err != nil {
				r.miss(a.node, a.err)
				continue
			}
			for _, f := range a.answer.Found {
				if f.Error != "" {
					r.miss(a.node, errors.New(clip(f.Error)))
					break
				}
			}
			r.found[a.node] = a.answer
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Missing says of whom there was no answer, or not to all searches. It is complete
// once Search has returned.
func (r *Round) Missing() []string {
	slices.Sort(r.missing)
	return slices.Compact(r.missing)
}

// Done lets go of what is still under way.
func (r *Round) Done() { r.cancel() }
