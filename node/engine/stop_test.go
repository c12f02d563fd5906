package engine_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/epmesh/epmesh/node/engine"
	pb "github.com/epmesh/epmesh/proto"
)

func TestStopStoresAndAcksWhatWasTaken(t *testing.T) {
	st := &store{gate: make(chan struct{}), entered: make(chan int, 100)}
	srv, stop := start(t, engine.Options{Publisher: st, Dead: st, Drain: 10 * time.Second})
	in := input(t, srv)
	for i := range 10 {
		if err := in.Send(&pb.Log{Id: fmt.Sprint(i), Raw: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are received", func() bool { return srv.Inputs()[0].Received == 10 })
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	eventually(t, "it stops", func() bool { return srv.Check() != nil })
	close(st.gate)
	last := ""
	for {
		ack, err := in.Recv()
		if err != nil {
			if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "EOF") {
				t.Errorf("the stream ended with %v", err)
			}
			break
		}
		last = ack.LastId
	}
	if last != "9" || len(st.stored()) != 10 {
		t.Errorf("acked %q, stored %d", last, len(st.stored()))
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopGivesUpAtItsDeadline(t *testing.T) {
	st := &store{gate: make(chan struct{}), entered: make(chan int, 100)}
	srv, stop := start(t, engine.Options{Publisher: st, Dead: st, Drain: 20 * time.Millisecond})
	in := input(t, srv)
	for i := range 10 {
		if err := in.Send(&pb.Log{Id: fmt.Sprint(i), Raw: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are received", func() bool { return srv.Inputs()[0].Received == 10 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if ack, err := in.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got ack %v, error %v", ack, err)
	}
	if got := srv.Inputs()[0]; got.Abandoned != 10 || got.InFlight != 0 || got.Stored != 0 || got.Streams != 0 {
		t.Errorf("counted %+v", got)
	}
}

func TestWhatIsAckedIsStoredWheneverItStops(t *testing.T) {
	const streams = 4
	for round := range 5 {
		st := &store{delay: 2 * time.Millisecond}
		srv, stop := start(t, engine.Options{Publisher: st, Dead: st, Drain: 5 * time.Millisecond})
		var wg sync.WaitGroup
		acked := make([]int, streams) // how many logs of each stream
		for i := range streams {
			in := input(t, srv)
			wg.Go(func() {
				for j := 0; ; j++ {
					l := &pb.Log{Id: fmt.Sprintf("%d %d", i, j), Raw: "r"}
					if j%10 == 9 {
						l.Raw = ""
					}
					if in.Send(l) != nil {
						return
					}
				}
			})
			wg.Go(func() {
				for {
					ack, err := in.Recv()
					if err != nil {
						return
					}
					var s, j int
					fmt.Sscanf(ack.LastId, "%d %d", &s, &j)
					acked[i] = j + 1
				}
			})
		}
		eventually(t, "there is load", func() bool { return srv.Inputs()[0].Stored > uint64(100*(round+1)) })
		if err := stop(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		kept := map[string]bool{}
		for _, it := range st.stored() {
			kept[unmarshalLog(t, it.Body).Id] = true
		}
		for _, d := range st.deadLetters() {
			kept[unmarshalLog(t, d.Body).Id] = true
		}
		for i, n := range acked {
			for j := range n {
				if id := fmt.Sprintf("%d %d", i, j); !kept[id] {
					t.Errorf("round %d: %s was acked and is not stored", round, id)
				}
			}
		}
		c := srv.Inputs()[0]
		if c.InFlight != 0 || c.Streams != 0 || c.Received != c.Stored+c.Refused["empty_raw"]+c.Abandoned {
			t.Errorf("round %d: counted %+v", round, c)
		}
	}
}
