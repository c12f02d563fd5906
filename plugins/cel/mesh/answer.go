package mesh

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// What an event of an answer takes at most beside its body, and a search beside
// its events.
const (
	maxHead  = 64
	maxFound = 256
)

// maxWait bounds what a question may make this instance work.
const maxWait = time.Minute

// Answer answers the question of another instance, in at most so many bytes; 0 is
// no bound. It is never empty. It may be called by many goroutines at once.
func (h *History) Answer(ctx context.Context, request []byte, room int) []byte {
	a := h.answer(ctx, request, room)
	a.Version = version
	data, err := proto.Marshal(a)
	if err == nil && (room <= 0 || len(data) <= room) {
		return data
	}
	// Texts are valid and numbers bounded, so it is only ever too large.
	data, _ = proto.Marshal(&pb.HistoryAnswer{Version: version, Stamp: a.Stamp, Error: "the answer is larger than a message may be"})
	return data
}

func (h *History) answer(ctx context.Context, request []byte, room int) *pb.HistoryAnswer {
	r, err := readRequest(request)
	if err != nil {
		return &pb.HistoryAnswer{Error: err.Error()}
	}
	now, ok := h.order.saw(r.Stamp)
	if !ok {
		return &pb.HistoryAnswer{Error: "its clock is more than ten years ahead"}
	}
	before := h.order.before(r.Stamp, h.self < r.Node)
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(r.Wait)*time.Millisecond, maxWait))
	defer cancel()
	a := &pb.HistoryAnswer{Stamp: now}
	self := idOf(&pb.Event{Id: r.Event})
	events := 0
	for _, s := range r.Searches {
		f := h.find(ctx, s, before, self, r.Event != "")
		a.Found = append(a.Found, f)
		events += len(f.Events)
	}
	left := room - len(a.Found)*maxFound - events*maxHead
	for _, f := range a.Found {
		if room <= 0 {
			left = int(r.Bytes)
		}
		left -= bounded(f.Events, min(left, int(r.Bytes)))
	}
	return a
}

// bounded keeps the newest bodies that fit into so many bytes, and tells how many
// those are. The ids stay.
func bounded(events []*pb.HistoryEvent, left int) (used int) {
	full := false
	for _, e := range events {
		if full = full || used+len(e.Body) > left; full {
			e.Body = nil
		}
		used += len(e.Body)
	}
	return used
}

// find does one search for another.
func (h *History) find(ctx context.Context, s *pb.HistorySearch, before uint64, self [16]byte, hasSelf bool) *pb.HistoryFound {
	q, err := queryOf(s, before)
	var r history.Result
	if err == nil {
		r, err = h.local.Search(ctx, q)
	}
	if err != nil {
		return &pb.HistoryFound{Error: clip(err.Error())}
	}
	f := &pb.HistoryFound{Total: uint32(r.Total)}
	now := h.order.wall()
	for i, e := range r.Events {
		id := idOf(e)
		if hasSelf && id == self {
			f.Total--
			continue
		}
		x := &pb.HistoryEvent{Id: id[:], Stamp: h.order.at(r.Places[i]), Time: history.When(e, now)}
		if len(f.Events) < int(s.Limit) {
			if x.Body, err = proto.Marshal(e); err != nil {
				return &pb.HistoryFound{Error: clip(err.Error())}
			}
		}
		f.Events = append(f.Events, x)
	}
	return f
}
