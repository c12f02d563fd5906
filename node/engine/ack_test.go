package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/engine"
	pb "github.com/epmesh/epmesh/proto"
)

func TestNoAckBeforeAllBeforeItIsStored(t *testing.T) {
	// Publish calls end in the order the test says, not in the one they began.
	type call struct {
		ids  []string
		done chan error
	}
	calls := make(chan call, 100)
	st := &store{}
	srv, _ := start(t, engine.Options{Dead: st, Publisher: publisherFunc(func(items []bridge.Item) error {
		c := call{done: make(chan error)}
		for _, it := range items {
			c.ids = append(c.ids, unmarshalLog(t, it.Body).Id)
		}
		calls <- c
		return <-c.done
	})})
	in := input(t, srv)
	send := func(id string) {
		if err := in.Send(&pb.Log{Id: id, Raw: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	acks := make(chan string, 100)
	go func() {
		for {
			a, err := in.Recv()
			if err != nil {
				return
			}
			acks <- a.LastId
		}
	}()

	// The window fills with single logs; what comes then waits together.
	var window []call
	for _, id := range []string{"1", "2", "3", "4"} {
		send(id)
		window = append(window, <-calls)
	}
	for _, id := range []string{"5", "6", "7"} {
		send(id)
	}
	eventually(t, "all are received", func() bool { return srv.Inputs()[0].Received == 7 })

	close(window[1].done)
	rest := <-calls
	if !slices.Equal(rest.ids, []string{"5", "6", "7"}) {
		t.Errorf("published together: %v", rest.ids)
	}
	close(window[2].done)
	close(rest.done)
	eventually(t, "five are stored", func() bool { return srv.Inputs()[0].Stored == 5 })
	select {
	case id := <-acks:
		t.Errorf("acked %s before 1 was stored", id)
	default:
	}
	close(window[0].done)
	if id := <-acks; id != "3" {
		t.Errorf("acked %s, want 3, which covers 1 and 2", id)
	}
	close(window[3].done)
	if id := <-acks; id != "7" {
		t.Errorf("acked %s, want 7", id)
	}
	in.CloseSend()
}

func TestAFullStoreHoldsBoundedMemoryAndLosesNothing(t *testing.T) {
	const limit, size, logs = 256 << 10, 1000, 5000
	st := &store{gate: make(chan struct{})}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st, MaxBuffered: limit})
	in := input(t, srv)
	sent := make(chan error, 1)
	go func() {
		for i := range logs {
			if err := in.Send(&pb.Log{Id: fmt.Sprint(i), Raw: strings.Repeat("x", size)}); err != nil {
				sent <- err
				return
			}
		}
		sent <- in.CloseSend()
	}()
	// Another stream gets its share when there is room, and none before.
	other := input(t, srv)
	eventually(t, "the room is used up", func() bool { return srv.Inputs()[0].Bytes > limit*7/10 })
	if err := other.Send(&pb.Log{Id: "other", Raw: strings.Repeat("x", size)}); err != nil {
		t.Fatal(err)
	}
	if n := srv.Inputs()[0].Bytes; n > limit {
		t.Errorf("%d bytes are held, over the limit of %d", n, limit)
	}
	select {
	case err := <-sent:
		t.Errorf("the sender was not made to wait: %v", err)
	default:
	}
	close(st.gate)
	for id := ""; id != fmt.Sprint(logs-1); {
		ack, err := in.Recv()
		if err != nil {
			t.Fatal(err)
		}
		id = ack.LastId
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if ack, err := other.Recv(); err != nil || ack.LastId != "other" {
		t.Errorf("the other stream: %v, %v", ack, err)
	}
	if n := len(st.stored()); n != logs+1 {
		t.Errorf("stored %d, want %d", n, logs+1)
	}
}

func TestALogLargerThanTheRoomIsTaken(t *testing.T) {
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st, MaxBuffered: 1000})
	in := input(t, srv)
	if err := in.Send(&pb.Log{Id: "a", Raw: strings.Repeat("x", 100_000)}); err != nil {
		t.Fatal(err)
	}
	if ack, err := in.Recv(); err != nil || ack.LastId != "a" {
		t.Errorf("%v, %v", ack, err)
	}
}

func TestWhatCanNeverBeStoredIsADeadLetterAlone(t *testing.T) {
	bad := func(it bridge.Item) bool { return strings.HasPrefix(unmarshalLog(t, it.Body).Raw, "bad") }
	st := &store{entered: make(chan int), publish: func(items []bridge.Item) error {
		if slices.ContainsFunc(items, bad) {
			return bridge.Permanent(errors.New("larger than the server takes"))
		}
		return nil
	}}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st, Window: 1})
	in := input(t, srv)
	send := func(i int, raw string) {
		if err := in.Send(&pb.Log{Id: fmt.Sprint(i), Raw: raw}); err != nil {
			t.Fatal(err)
		}
	}
	send(0, "first")
	for i := 1; i <= 20; i++ {
		send(i, map[bool]string{true: "bad", false: "good"}[i == 3 || i == 17])
	}
	// All of them are received while the first call is held, and go out together.
	eventually(t, "all are received", func() bool { return srv.Inputs()[0].Received == 21 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if ack, err := in.Recv(); err != nil || ack.LastId == "20" {
				return
			}
		}
	}()
	for open := true; open; {
		select {
		case <-st.entered:
		case <-done:
			open = false
		}
	}
	if n := len(st.deadLetters()); n != 2 {
		t.Errorf("%d dead letters, want 2: %v", n, st.deadLetters())
	}
	if n := len(st.stored()); n != 19 {
		t.Errorf("stored %d, want 19", n)
	}
	if got := srv.Inputs()[0]; got.Stored != 19 || got.Refused["unstorable"] != 2 || got.InFlight != 0 {
		t.Errorf("counted %+v", got)
	}
}

func TestOtherErrorsAreTriedAgain(t *testing.T) {
	fails, deadFails := 2, 2
	st := &store{
		publish: func([]bridge.Item) error {
			if fails--; fails >= 0 {
				return errors.New("not now")
			}
			return nil
		},
		dead: func([]engine.Refused) error {
			if deadFails--; deadFails >= 0 {
				return bridge.Permanent(errors.New("not even as a dead letter"))
			}
			return nil
		},
	}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	in := input(t, srv)
	for _, l := range []*pb.Log{{Id: "a", Raw: "r"}, {Id: "b"}} {
		if err := in.Send(l); err != nil {
			t.Fatal(err)
		}
		if ack, err := in.Recv(); err != nil || ack.LastId != l.Id {
			t.Fatalf("%v, %v", ack, err)
		}
	}
	if len(st.stored()) != 1 || len(st.deadLetters()) != 1 {
		t.Errorf("stored %v, dead %v", st.stored(), st.deadLetters())
	}
}

func TestASenderThatGoesAwayLosesNothingThatWasTaken(t *testing.T) {
	st := &store{gate: make(chan struct{}), entered: make(chan int, 100)}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	conn := dial(t, srv)
	in, err := pb.NewEngineClient(conn).Input(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := in.Send(&pb.Log{Id: fmt.Sprint(i), Raw: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are received", func() bool { return srv.Inputs()[0].Received == 10 })
	conn.Close()
	close(st.gate)
	eventually(t, "all are stored and the stream has ended", func() bool {
		c := srv.Inputs()[0]
		return c.Stored == 10 && c.Streams == 0
	})
}

func TestASenderThatReadsNoAcksIsNotHeldUp(t *testing.T) {
	const logs = 20000
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	in := input(t, srv)
	for i := range logs {
		if err := in.Send(&pb.Log{Id: fmt.Sprintf("%0100d", i), Raw: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are stored", func() bool { return srv.Inputs()[0].Stored == logs })
	in.CloseSend()
	for last := ""; last != fmt.Sprintf("%0100d", logs-1); {
		ack, err := in.Recv()
		if err != nil {
			t.Fatal(err)
		}
		last = ack.LastId
	}
}

func TestALogAboveTheHardLimitEndsItsStreamAlone(t *testing.T) {
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	in, other := input(t, srv), input(t, srv)
	if err := in.Send(&pb.Log{Id: "a", Raw: "r"}); err != nil {
		t.Fatal(err)
	}
	if ack, err := in.Recv(); err != nil || ack.LastId != "a" {
		t.Fatalf("%v, %v", ack, err)
	}
	in.Send(&pb.Log{Id: "b", Raw: strings.Repeat("x", engine.HardLimit)})
	if ack, err := in.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v, %v", ack, err)
	}
	if err := other.Send(&pb.Log{Id: "c", Raw: "r"}); err != nil {
		t.Fatal(err)
	}
	if ack, err := other.Recv(); err != nil || ack.LastId != "c" {
		t.Errorf("%v, %v", ack, err)
	}
}
