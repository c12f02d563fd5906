package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// observer looks at the streams from outside, with a plain NATS client. It makes
// nothing there: a consumer of its own would keep messages in the streams, and
// hide what happens when they go.
type observer struct {
	t  *testing.T
	js jetstream.JetStream
}

var streams = []string{
	bridge.StreamLog, bridge.StreamDraft, bridge.StreamEvent, bridge.StreamAlert, bridge.StreamMessage, bridge.StreamPlaced, bridge.StreamDead,
}

// observe connects to the embedded server of the node in dir.
func observe(t *testing.T, dir string) *observer {
	t.Helper()
	a, err := bridge.ReadAccess(node.AccessFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	return observeURL(t, a.URL, nats.UserInfo(a.User, a.Password))
}

func observeURL(t *testing.T, url string, o ...nats.Option) *observer {
	t.Helper()
	nc, err := nats.Connect(url, append(o, nats.MaxReconnects(-1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	seen := &observer{t: t, js: js}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("left to do: %s", seen.leftAt(context.WithoutCancel(t.Context())))
		}
	})
	return seen
}

func (o *observer) stream(name string) *jetstream.StreamInfo {
	o.t.Helper()
	s, err := o.js.Stream(o.t.Context(), name)
	if err != nil {
		o.t.Fatalf("stream %s: %v", name, err)
	}
	return s.CachedInfo()
}

// rest waits until every consumer has done everything. It fails when nothing
// moves any more.
func (o *observer) rest() {
	o.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	left, moved := "", time.Now()
	for {
		now := o.left()
		if now == "" {
			return
		}
		if now != left {
			left, moved = now, time.Now()
		}
		if time.Since(moved) > patience {
			o.t.Fatalf("consumers do not come to rest: %s", left)
		}
		<-tick.C
	}
}

// left says which consumers have something before them.
func (o *observer) left() string { return o.leftAt(o.t.Context()) }

func (o *observer) leftAt(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	left := ""
	for _, name := range streams {
		s, err := o.js.Stream(ctx, name)
		if err != nil {
			return err.Error()
		}
		list := s.ListConsumers(ctx)
		for c := range list.Info() {
			if c.Config.Metadata["epmesh.stage"] == "" {
				continue // it keeps alerts for a time, and works on none
			}
			if c.NumPending > 0 || c.NumAckPending > 0 {
				left += fmt.Sprintf("%s: %d pending, %d unacked; ", c.Name, c.NumPending, c.NumAckPending)
			}
		}
		if err := list.Err(); err != nil {
			return err.Error()
		}
	}
	return left
}

// alerts is how many alerts were ever stored: each is a message of its own, and
// one that the stream refused as a repetition takes no sequence.
func (o *observer) alerts() int { return int(o.stream(bridge.StreamAlert).State.LastSeq) }

// messages calls f with all that a stream holds, in order.
func (o *observer) messages(name string, f func(*jetstream.RawStreamMsg)) {
	o.t.Helper()
	stream, err := o.js.Stream(o.t.Context(), name)
	if err != nil {
		o.t.Fatal(err)
	}
	for seq := uint64(1); ; seq++ {
		m, err := stream.GetMsg(o.t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			if seq > stream.CachedInfo().State.LastSeq {
				return
			}
			continue
		}
		if err != nil {
			o.t.Fatal(err)
		}
		f(m)
	}
}

// items calls f with the body of each item that a stream holds.
func (o *observer) items(name string, f func(body []byte)) {
	o.t.Helper()
	o.messages(name, func(m *jetstream.RawStreamMsg) {
		var batch pb.Batch
		must(o.t, proto.Unmarshal(m.Data, &batch))
		for _, it := range batch.GetItems() {
			f(it.GetBody())
		}
	})
}

// dead are the ids of what is in the dead letters, by stage.
func (o *observer) dead() map[string][]string {
	o.t.Helper()
	ids := map[string][]string{}
	o.messages(bridge.StreamDead, func(m *jetstream.RawStreamMsg) {
		var d pb.DeadLetter
		if err := proto.Unmarshal(m.Data, &d); err != nil {
			o.t.Fatal(err)
		}
		id, err := itemID(&d)
		if err != nil {
			o.t.Fatalf("dead letter of stage %s: %v", d.GetStage(), err)
		}
		if !slices.Contains(ids[d.GetStage()], id) {
			ids[d.GetStage()] = append(ids[d.GetStage()], id)
		}
	})
	return ids
}

// itemID is the id that the sender, or a plugin, gave what is in a dead letter.
func itemID(d *pb.DeadLetter) (string, error) {
	switch d.GetStage() {
	case "input", "parse":
		var l pb.Log
		err := proto.Unmarshal(d.GetBody(), &l)
		return l.GetId(), err
	case "draft":
		var h pb.Handover
		var l pb.Log
		err := errors.Join(proto.Unmarshal(d.GetBody(), &h), proto.Unmarshal(h.GetLog(), &l))
		return l.GetId(), err
	case "analysis", "event-output":
		var e pb.Event
		err := proto.Unmarshal(d.GetBody(), &e)
		return e.GetId(), err
	case "correlation", "alert-output":
		var a pb.Alert
		err := proto.Unmarshal(d.GetBody(), &a)
		return a.GetId(), err
	}
	return "", fmt.Errorf("unknown stage %q", d.GetStage())
}
