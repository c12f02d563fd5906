package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

// What is written by hand is what the generated code reads.
func TestLaneCalls(t *testing.T) {
	want := &pb.LaneCalls{
		Calls: []*pb.LaneCall{
			{Id: 1, Method: pb.LaneMethod_ANALYZE, Body: []byte("body")},
			{Id: 1 << 60, Method: pb.LaneMethod_NOTIFY},
		},
		Ended: []uint64{7, 1 << 63},
	}
	var b []byte
	size := 0
	for _, c := range want.Calls {
		b = wire.AppendLaneCall(b, c.Id, c.Method, c.Body)
		size += wire.LaneCallOverhead + len(c.Body)
	}
	for _, id := range want.Ended {
		b = wire.AppendLaneEnded(b, id)
		size += wire.LaneEndedSize
	}
	if len(b) > size {
		t.Errorf("%d bytes, at most %d were expected", len(b), size)
	}
	var got pb.LaneCalls
	if err := proto.Unmarshal(b, &got); err != nil || !proto.Equal(&got, want) {
		t.Errorf("read %v, %v", &got, err)
	}
	scanned, err := scanCalls(b)
	if err != nil || !proto.Equal(scanned, want) {
		t.Errorf("scanned %v, %v", scanned, err)
	}
	if scanned, err = scanCalls(marshal(t, want)); err != nil || !proto.Equal(scanned, want) {
		t.Errorf("scanned of generated %v, %v", scanned, err)
	}
}

func TestLaneAnswers(t *testing.T) {
	alert := marshal(t, &pb.Alert{Id: "a", Name: "n"})
	want := &pb.LaneAnswers{Answers: []*pb.LaneAnswer{
		{Id: 3, Messages: [][]byte{alert, alert}},
		{Id: 4},
		{Id: 5, Code: 14, Text: "later"},
		{Id: 6, Excess: pb.LaneExcess_LANE_EXCESS_MESSAGES},
		{Id: 7, Code: 14, Text: "later", Details: [][]byte{[]byte("one"), {}}},
	}}
	var b []byte
	for _, a := range want.Answers {
		var messages []byte
		for range a.Messages {
			var err error
			if messages, err = wire.AppendLaneMessage(messages, &pb.Alert{Id: "a", Name: "n"}); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range a.Details {
			messages = wire.AppendLaneDetail(messages, d)
		}
		before := len(b)
		b = wire.AppendLaneAnswer(b, a.Id, a.Code, a.Text, a.Excess, messages)
		if n := wire.LaneAnswerSize(a.Text, messages); len(b)-before > n {
			t.Errorf("%d bytes, at most %d were expected", len(b)-before, n)
		}
	}
	var got pb.LaneAnswers
	if err := proto.Unmarshal(b, &got); err != nil || !proto.Equal(&got, want) {
		t.Errorf("read %v, %v", &got, err)
	}
	if scanned, err := scanAnswers(b, 10); err != nil || !proto.Equal(scanned, want) {
		t.Errorf("scanned %v, %v", scanned, err)
	}
	counts := []int{}
	if err := wire.ScanLaneAnswers(b, 1, func(a *wire.LaneAnswer) { counts = append(counts, len(a.Messages), a.Count) }); err != nil || counts[0] != 1 || counts[1] != 2 {
		t.Errorf("kept and counted %v, %v", counts, err)
	}
	kept, err := wire.AppendLaneMessage([]byte("x"), &pb.Alert{Id: "\xff"})
	if err == nil || string(kept) != "x" {
		t.Errorf("an alert that is not UTF-8: %q, %v", kept, err)
	}
}

func scanCalls(b []byte) (*pb.LaneCalls, error) {
	m := &pb.LaneCalls{}
	err := wire.ScanLaneCalls(b, func(c wire.LaneCall) {
		m.Calls = append(m.Calls, &pb.LaneCall{Id: c.ID, Method: c.Method, Body: bytes.Clone(c.Body)})
	}, func(id uint64) { m.Ended = append(m.Ended, id) })
	return m, err
}

func scanAnswers(b []byte, keep int) (*pb.LaneAnswers, error) {
	m := &pb.LaneAnswers{}
	err := wire.ScanLaneAnswers(b, keep, func(a *wire.LaneAnswer) {
		answer := &pb.LaneAnswer{Id: a.ID, Code: a.Code, Text: string(a.Text), Excess: a.Excess}
		for _, b := range a.Messages {
			answer.Messages = append(answer.Messages, bytes.Clone(b))
		}
		for _, b := range a.Details {
			answer.Details = append(answer.Details, bytes.Clone(b))
		}
		m.Answers = append(m.Answers, answer)
	})
	return m, err
}

// FuzzLane: what the scans read of any bytes is what the generated code reads,
// and they fail where it fails, but for text that is not UTF-8.
func FuzzLane(f *testing.F) {
	f.Add([]byte{})
	f.Add(wire.AppendLaneEnded(wire.AppendLaneCall(nil, 1, pb.LaneMethod_ANALYZE, []byte("x")), 1))
	f.Add(marshal(f, &pb.LaneCalls{Limits: &pb.LaneLimits{MaxBytes: 1}, Ended: []uint64{1, 2}}))
	f.Add(wire.AppendLaneAnswer(nil, 1, 3, "no", 0, []byte{4<<3 | 2, 1, 'a', 4<<3 | 2, 0}))
	f.Add(marshal(f, &pb.LaneAnswers{Offer: &pb.LaneOffer{MaxBytes: 1}, Answers: []*pb.LaneAnswer{{Id: 1, Text: "ü", Excess: 2}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		scanned, err := scanCalls(b)
		var calls pb.LaneCalls
		want := proto.Unmarshal(b, &calls)
		// What the scan does not look into may be broken all the same.
		if calls.Limits != nil {
			want = err
		}
		if (err == nil) != (want == nil) {
			t.Fatalf("calls: scan %v, generated %v", err, want)
		}
		if err == nil && want == nil && calls.Limits == nil && !equalCalls(scanned, &calls) {
			t.Fatalf("calls: scan %v, generated %v", scanned, &calls)
		}
		if err != nil && !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("calls: %v", err)
		}

		gotAnswers, err := scanAnswers(b, 1<<20)
		var answers pb.LaneAnswers
		if proto.Unmarshal(b, &answers) == nil {
			if err != nil || !equalAnswers(gotAnswers, &answers) {
				t.Fatalf("answers: scan %v %v, generated %v", gotAnswers, err, &answers)
			}
		}
	})
}

func equalCalls(a, b *pb.LaneCalls) bool {
	if len(a.Calls) != len(b.Calls) || len(a.Ended) != len(b.Ended) {
		return false
	}
	for i, c := range a.Calls {
		if d := b.Calls[i]; c.Id != d.Id || c.Method != d.Method || !bytes.Equal(c.Body, d.Body) {
			return false
		}
	}
	for i, id := range a.Ended {
		if id != b.Ended[i] {
			return false
		}
	}
	return true
}

func equalAnswers(a, b *pb.LaneAnswers) bool {
	if len(a.Answers) != len(b.Answers) {
		return false
	}
	for i, x := range a.Answers {
		y := b.Answers[i]
		var messages [][]byte
		for _, m := range y.Messages {
			if len(m) > 0 {
				messages = append(messages, m)
			}
		}
		if x.Id != y.Id || x.Code != y.Code || x.Text != y.Text || x.Excess != y.Excess || len(x.Messages) != len(messages) {
			return false
		}
		for i, m := range x.Messages {
			if !bytes.Equal(m, messages[i]) {
				return false
			}
		}
	}
	return true
}

func BenchmarkLaneCalls(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 500)
	b.ReportAllocs()
	for b.Loop() {
		buf := wire.NewBuffer(64 * (len(body) + wire.LaneCallOverhead))
		for i := range 64 {
			*buf = wire.AppendLaneCall(*buf, uint64(i), pb.LaneMethod_ANALYZE, body)
		}
		p := wire.Finish(buf)
		n := 0
		if err := wire.ScanLaneCalls(p.Buffer.ReadOnlyData(), func(c wire.LaneCall) { n += len(c.Body) }, nil); err != nil || n != 64*500 {
			b.Fatal(n, err)
		}
		p.Buffer.Free()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/item")
}
