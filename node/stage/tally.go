package stage

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// The engine's own topics, as the SDK names them. The reference engine emits a
// message a log; here the logs of one stored batch are counted and stored as
// one tally, only where a notification plugin asks for the topic, and become
// single messages again at that plugin's door.
const (
	TopicEnqueueSuccess     = "enqueue_success"     // a log became an event
	TopicParsingDropped     = "parsing_dropped"     // a drop step discarded a log, or it was given up
	TopicAnalysisDropped    = "analysis_dropped"    // an event was given up for an analysis plugin
	TopicCorrelationDropped = "correlation_dropped" // an alert was given up for a correlation plugin
)

// EngineTopics lists them.
var EngineTopics = []string{TopicEnqueueSuccess, TopicParsingDropped, TopicAnalysisDropped, TopicCorrelationDropped}

// Tallies makes the engine's own messages. The zero value makes none. Its
// methods may be called by many goroutines at once.
type Tallies struct {
	wanted atomic.Pointer[[]string]
}

// Want says which topics somebody listens to.
func (t *Tallies) Want(topics []string) {
	topics = slices.Clone(topics)
	t.wanted.Store(&topics)
}

func (t *Tallies) wants(topic string) bool {
	w := t.wanted.Load()
	return w != nil && slices.Contains(*w, topic)
}

// one is the tally of one item, as an output to be merged, or none.
func (t *Tallies) one(topic, dataType, dataSource string, of bridge.Item) []bridge.Item {
	if !t.wants(topic) {
		return nil
	}
	return []bridge.Item{tallyItem(&pb.Tally{
		Topic: topic, DataType: dataType, DataSource: dataSource, Count: 1,
		Timestamp: time.Unix(0, of.Received).UTC().Format(time.RFC3339Nano),
	}, of.ID.Derive(topic, 0), of.Received)}
}

func tallyItem(t *pb.Tally, id bridge.ID, received int64) bridge.Item {
	body, err := proto.Marshal(t)
	if err != nil {
		// Only text that is not UTF-8 does this; it came through a scan that
		// refuses it.
		body = nil
	}
	return bridge.Item{ID: id, Subject: bridge.EngineSubject(t.GetTopic()), Received: received, Body: body}
}

// GivenUp is Work.GivenUp of a stage whose items scan reads.
func (t *Tallies) GivenUp(topic string, scan func([]byte) (dataType, dataSource []byte)) func(bridge.Item) []bridge.Item {
	return func(item bridge.Item) []bridge.Item {
		dataType, dataSource := scan(item.Body)
		return t.one(topic, string(dataType), string(dataSource), item)
	}
}

// ScanLog, ScanEvent and ScanAlert are what GivenUp reads items with. What
// cannot be read counts under empty names.
func ScanLog(b []byte) (dataType, dataSource []byte) {
	f, _ := wire.ScanLog(b)
	return f.DataType, f.DataSource
}

// ScanEvent reads an event for GivenUp.
func ScanEvent(b []byte) (dataType, dataSource []byte) {
	f, _ := wire.ScanEvent(b)
	return f.DataType, f.DataSource
}

// ScanAlert reads an alert for GivenUp.
func ScanAlert(b []byte) (dataType, dataSource []byte) {
	f, _ := wire.ScanAlert(b)
	return f.DataType, f.DataSource
}

// MergeTallies is Work.Merge: the tallies among outputs are added up, one for
// each topic, dataType and dataSource. Other outputs pass.
func MergeTallies(out []bridge.Item) []bridge.Item {
	if !slices.ContainsFunc(out, func(it bridge.Item) bool { return bridge.IsEngine(it.Subject) }) {
		return out
	}
	type key struct{ topic, dataType, dataSource string }
	type sum struct {
		first bridge.Item
		tally pb.Tally
		ids   []byte
	}
	sums := map[key]*sum{}
	rest := out[:0:0]
	for _, it := range out {
		if !bridge.IsEngine(it.Subject) {
			rest = append(rest, it)
			continue
		}
		var t pb.Tally
		if proto.Unmarshal(it.Body, &t) != nil {
			continue
		}
		k := key{t.GetTopic(), t.GetDataType(), t.GetDataSource()}
		s := sums[k]
		if s == nil {
			s = &sum{first: it}
			proto.Merge(&s.tally, &t)
			s.tally.Count = 0
			sums[k] = s
		}
		s.tally.Count += t.GetCount()
		s.ids = append(s.ids, it.ID[:]...)
	}
	keys := make([]key, 0, len(sums))
	for k := range sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.dataType, b.dataType), cmp.Compare(a.dataSource, b.dataSource))
	})
	for _, k := range keys {
		s := sums[k]
		rest = append(rest, tallyItem(&s.tally, bridge.NewID(s.ids), s.first.Received))
	}
	return rest
}
