package bridge

import (
	"errors"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// gather fetches until all that the consumer has given to anybody and that is
// not done is here, then routes it in order. What is left on an error was not
// routed.
func (r *router) gather(left []jetstream.Msg) ([]jetstream.Msg, error) {
	have := map[uint64]jetstream.Msg{}
	add := func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		if err != nil {
			return
		}
		if old := have[meta.Sequence.Stream]; old != nil {
			r.release(old)
		}
		have[meta.Sequence.Stream] = msg
		r.hold(msg)
	}
	for _, msg := range left {
		add(msg)
	}
	sorted := func() []jetstream.Msg {
		var list []jetstream.Msg
		for _, seq := range slices.Sorted(maps.Keys(have)) {
			list = append(list, have[seq])
		}
		return list
	}
	for r.stopping.Err() == nil {
		info, err := r.consumer.Info(r.stopping)
		if err != nil {
			return sorted(), err
		}
		// Acks of the node before may still arrive, of the oldest first.
		for seq, msg := range have {
			if seq <= info.AckFloor.Stream {
				r.release(msg)
				delete(have, seq)
			}
		}
		if info.NumAckPending <= len(have) {
			r.last = info.Delivered.Consumer
			all := sorted()
			for len(all) > 0 {
				n := min(len(all), routeFetch)
				if !r.route(all[:n]) {
					return all, errors.New("not all could be stored")
				}
				all = all[n:]
			}
			return nil, nil
		}
		// What comes again comes before what is new.
		q, err := r.request(r.consumer, min(info.NumAckPending-len(have), routeFetch), gatherWait)
		if err != nil {
			return sorted(), err
		}
		for msg := range q.msgs {
			add(msg)
		}
		q.end()
	}
	return sorted(), nil
}
