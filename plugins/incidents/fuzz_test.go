package incidents

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
)

// Whatever is stored under the keys of an alert, taking it ends, with an answer
// or an error, and its message can be made.
func FuzzStored(f *testing.F) {
	g := new(group)
	s := defaults()
	for _, id := range []string{"0", "1", "2"} {
		g.add(factsOf(alert(id, "x"), &s, time.Now()), &s)
	}
	g.repeat("3", "0", 1, 1, &s)
	g.forget(1)
	value, err := g.encode()
	if err != nil {
		f.Fatal(err)
	}
	claimed, err := json.Marshal(claim{Alert: "0", Group: key("g", "x"), Before: []string{key("g", "y")}})
	if err != nil {
		f.Fatal(err)
	}
	kept, err := json.Marshal(record{g.Recent[0], key("g", "x")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value, claimed, kept)
	f.Add([]byte(`{"v":1,"recent":null,"moved":9999999999999,"gone":-1}`), []byte(`{"alert":"a","group":"g.x"}`), []byte(`{"entry":{"id":"a","kind":"odd","parent":"p","children":99,"names":-4,"severity":-9}}`))
	f.Add([]byte(`{"v":2}`), []byte(`[]`), []byte(`nul`))
	f.Add([]byte(`{"v":1,"incident":{"severity":77,"first":-1,"last":9223372036854775807},"recent":[{"id":"a","severity":99,"children":5}]}`), []byte(`{}`), []byte{})
	f.Fuzz(func(t *testing.T, group, claim, record []byte) {
		s := defaults()
		a := alert("a", "x")
		a.DeduplicateBy = []string{"adversary.ip"}
		facts := factsOf(a, &s, time.Now())
		st := newMemory()
		for _, v := range []struct {
			key   string
			value []byte
		}{{facts.group, group}, {facts.same, claim}, {facts.record, record}, {incidentKey("t", "p"), group}} {
			if len(v.value) > 0 {
				if _, err := st.Put(t.Context(), v.key, v.value, 0, time.Hour); err != nil {
					t.Fatal(err)
				}
			}
		}
		l := newLedger(&s, st, hclog.NewNullLogger())
		defer l.close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		o, err := l.take(ctx, facts)
		if ctx.Err() != nil {
			t.Fatal("it has no end")
		}
		if err != nil {
			return
		}
		if _, err := (&correlator{settings: s}).message(facts, o); err != nil {
			t.Fatal(err)
		}
		again, err := l.take(ctx, facts)
		if err != nil || again.entry != o.entry {
			t.Fatalf("first %+v, then %+v %v", o.entry, again.entry, err)
		}
	})
}

// Whatever an alert holds, its keys are keys and its message is bounded.
func FuzzAlert(f *testing.F) {
	seed, err := proto.Marshal(&pb.Alert{Id: "1", Name: "n", GroupBy: []string{"adversary.ip", "lastEvent.log.x.0"}, DeduplicateBy: []string{"events.0.id"}, Adversary: &pb.Side{Ip: "x"}, Events: []*pb.Event{{Id: "e"}, nil}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		a := new(pb.Alert)
		if proto.Unmarshal(data, a) != nil {
			return
		}
		s := defaults()
		facts := factsOf(a, &s, time.Now())
		for _, key := range []string{facts.group, facts.same, facts.record} {
			if key != "" && len(key) != 34 {
				t.Fatalf("key %q", key)
			}
		}
		g := new(group)
		m, err := (&correlator{settings: s}).message(facts, g.outcome(g.add(facts, &s)))
		if err != nil || len(m.Message) > maxBody || !json.Valid([]byte(m.Message)) {
			t.Fatalf("message of %d bytes: %v", len(m.Message), err)
		}
	})
}

var _ store = (*bridge.State)(nil)
