package mesh

import (
	"context"
	"slices"

	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// one is an event that somebody has.
type one struct {
	id    [16]byte
	stamp uint64
	time  int64
	body  []byte
	event *pb.Event // of ours
}

// Search does one of the round's queries here, and adds what the others found. The
// result is what a store with the events of all would give, but for those who are
// missing. An error is the local store's, or ctx's.
func (r *Round) Search(ctx context.Context, i int) (history.Result, error) {
	q := r.queries[i]
	counted := enough(q) <= exact
	own := q
	own.Share = true
	if counted {
		own.Limit, own.Want = enough(q), 0
	}
	local, err := r.h.local.Search(ctx, own)
	if err != nil {
		return local, err
	}
	if err := r.gather(ctx); err != nil {
		return local, err
	}
	total := local.Total
	lists := [][]one{r.h.ours(local)}
	for _, node := range sortedKeys(r.found) {
		f := r.found[node].Found[i]
		total += int(min(f.Total, 1<<31-1))
		lists = append(lists, theirs(f))
	}
	merged := merge(lists, enough(q))
	if counted {
		total = len(merged)
	}
	found := history.Result{Total: min(total, enough(q))}
	if found.Total < q.Want {
		return found, nil
	}
	for _, x := range merged {
		if len(found.Events) == q.Limit {
			break
		}
		e := x.event
		if e == nil {
			if x.body == nil {
				continue // there was no room for it
			}
			e = new(pb.Event)
			if proto.Unmarshal(x.body, e) != nil {
				continue // what another wrote is no reason to fail
			}
		}
		found.Events = append(found.Events, e)
	}
	return found, nil
}

func (h *History) ours(r history.Result) []one {
	now := h.order.wall()
	list := make([]one, len(r.Events))
	for i, e := range r.Events {
		list[i] = one{id: idOf(e), stamp: h.order.at(r.Places[i]), time: history.When(e, now), event: e}
	}
	return list
}

func theirs(f *pb.HistoryFound) []one {
	var list []one
	for _, e := range f.Events {
		if len(e.GetId()) == 16 {
			list = append(list, one{id: [16]byte(e.Id), stamp: e.Stamp, time: e.Time, body: e.Body})
		}
	}
	return list
}

// newer compares events of two instances: by their stamps, or, of old ones that
// have none, by their times.
func newer(a, b one) bool {
	if a.stamp != 0 && b.stamp != 0 && a.stamp != b.stamp {
		return a.stamp > b.stamp
	}
	return a.time > b.time
}

// merge gives the newest of several lists that have their newest first, each id
// once.
func merge(lists [][]one, most int) []one {
	var all []one
	seen := map[[16]byte]bool{}
	for len(all) < most {
		newest := -1
		for i, list := range lists {
			if len(list) > 0 && (newest < 0 || newer(list[0], lists[newest][0])) {
				newest = i
			}
		}
		if newest < 0 {
			break
		}
		x := lists[newest][0]
		lists[newest] = lists[newest][1:]
		if !seen[x.id] {
			seen[x.id] = true
			all = append(all, x)
		}
	}
	return all
}

func sortedKeys(m map[string]*pb.HistoryAnswer) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
