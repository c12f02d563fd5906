package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/engine"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

func TestInputStoresWhatIsSentAsItIs(t *testing.T) {
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	in := frames(t, srv, "Input")
	sent := marshal(t, &pb.Log{Id: "a", DataType: "linux", DataSource: "s", Timestamp: "yesterday, about noon", TenantId: "ten", Raw: "r"})
	before := time.Now().UnixNano()
	in.send(sent)
	if id := in.ack(); id != "a" {
		t.Errorf("lastId %q", id)
	}
	items := st.stored()
	if len(items) != 1 || !bytes.Equal(items[0].Body, sent) {
		t.Fatalf("stored %v", items)
	}
	it := items[0]
	if it.ID != bridge.NewID(sent) || it.Subject != bridge.LogSubject("ten", "linux") {
		t.Errorf("id %v, subject %s", it.ID, it.Subject)
	}
	if it.Received < before || it.Received > time.Now().UnixNano() {
		t.Errorf("received at %d", it.Received)
	}
}

func TestInputFillsInWhatIsMissing(t *testing.T) {
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st, Tenant: "home"})
	in := frames(t, srv, "Input")
	sent := protowire.AppendString(protowire.AppendTag(nil, 200, protowire.BytesType), "of a newer plugin")
	sent = wire.AppendTexts(sent, wire.Text{Number: wire.LogRaw, Value: "r"})
	in.send(sent)
	first := in.ack()
	in.send(sent)
	second := in.ack()
	if first == "" || first == second {
		t.Errorf("acked %q and %q", first, second)
	}
	items := st.stored()
	if len(items) != 2 {
		t.Fatalf("stored %d logs", len(items))
	}
	if items[0].ID == items[1].ID {
		t.Error("two logs that were sent without an id are taken for one")
	}
	l := unmarshalLog(t, items[0].Body)
	if l.Id != first || l.DataType != "generic" || l.DataSource != "unknown" || l.TenantId != "home" || l.Raw != "r" {
		t.Errorf("stored %v", l)
	}
	if at, err := time.Parse(time.RFC3339Nano, l.Timestamp); err != nil || time.Since(at) > time.Minute || !strings.HasSuffix(l.Timestamp, "Z") {
		t.Errorf("timestamp %q: %v", l.Timestamp, err)
	}
	if !bytes.HasPrefix(items[0].Body, sent) || len(l.ProtoReflect().GetUnknown()) == 0 {
		t.Error("what was sent is not in what was stored")
	}
	if items[0].Subject != bridge.LogSubject("home", "generic") {
		t.Errorf("subject %s", items[0].Subject)
	}
}

func TestALogSentAgainKeepsItsIdentity(t *testing.T) {
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	// No timestamp: what is filled in differs, the identity does not.
	sent := marshal(t, &pb.Log{Id: "same", Raw: "r"})
	for range 2 {
		in := frames(t, srv, "Input")
		in.send(sent)
		in.ack()
	}
	if items := st.stored(); len(items) != 2 || items[0].ID != items[1].ID {
		t.Errorf("stored %v", items)
	}
}

func TestRefusedLogsAreDeadLettersAndEndNoStream(t *testing.T) {
	const limit = 4 << 10
	good := &pb.Log{Id: "good", DataType: "linux", TenantId: "ten", Raw: "r"}
	notText := append(marshal(t, &pb.Log{Id: "bad text", DataType: "linux"}), 6<<3|2, 2, 0xc3, 0x28)
	tests := []struct {
		name   string
		frame  []byte
		ack    string // "" for an assigned one
		reason string
		count  string
		same   bool // the body is kept as it came
	}{
		{"empty raw", marshal(t, &pb.Log{Id: "e", DataType: "linux"}), "e", "raw is empty", "empty_raw", false},
		{"empty frame", nil, "", "raw is empty", "empty_raw", false},
		{"not UTF-8", notText, "bad text", "field raw of Log is not UTF-8", "not_utf8", false},
		{"id not UTF-8", append([]byte{1<<3 | 2, 1, 0xff}, marshal(t, good)[6:]...), "", "field id of Log", "not_utf8", false},
		{"malformed", []byte("this is no protobuf"), "", "malformed protobuf", "malformed", true},
		{"cut short", marshal(t, good)[:len(marshal(t, good))-1], "good", "malformed protobuf", "malformed", true},
		{"too large", marshal(t, &pb.Log{Id: "big", Raw: strings.Repeat("x", limit)}), "big", "over the limit of 4096", "too_large", false},
		{"large beyond gRPC's default", marshal(t, &pb.Log{Id: "huge", Raw: strings.Repeat("x", 5<<20)}), "huge", "over the limit", "too_large", false},
		{"an id too large to echo", marshal(t, &pb.Log{Id: strings.Repeat("i", 5<<20), Raw: "r"}), "", "over the limit", "too_large", false},
	}
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st, MaxLog: limit})
	in := frames(t, srv, "Input")
	for i, tt := range tests {
		in.send(tt.frame)
		id := in.ack()
		if tt.ack != "" && id != tt.ack || id == "" || len(id) > 64 {
			t.Errorf("%s: acked %.80q, want %q", tt.name, id, tt.ack)
		}
		dead := st.deadLetters()
		if len(dead) != i+1 {
			t.Fatalf("%s: %d dead letters, want %d", tt.name, len(dead), i+1)
		}
		got := dead[i]
		if !strings.Contains(got.Reason, tt.reason) {
			t.Errorf("%s: reason %q, want %q", tt.name, got.Reason, tt.reason)
		}
		if !bytes.HasPrefix(got.Body, tt.frame) || tt.same && len(got.Body) != len(tt.frame) {
			t.Errorf("%s: the body is not what was sent", tt.name)
		}
		if got.Subject == "" || got.Received == 0 || got.ID == (bridge.ID{}) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	in.send(marshal(t, good))
	if id := in.ack(); id != "good" {
		t.Errorf("after all this the stream acked %q", id)
	}
	refused := srv.Inputs()[0].Refused
	want := map[string]uint64{}
	for _, tt := range tests {
		want[tt.count]++
	}
	for reason, n := range refused {
		if n != want[reason] {
			t.Errorf("refused %s: counted %d, want %d", reason, n, want[reason])
		}
	}
}

func TestRefusedForALongID(t *testing.T) {
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	in := frames(t, srv, "Input")
	in.send(marshal(t, &pb.Log{Id: strings.Repeat("i", 65<<10), Raw: "r"}))
	if id := in.ack(); len(id) > 64 {
		t.Errorf("acked an id of %d bytes", len(id))
	}
	if dead := st.deadLetters(); len(dead) != 1 || !strings.Contains(dead[0].Reason, "id of 66560 bytes") {
		t.Errorf("dead letters %v", dead)
	}
}

func TestNotify(t *testing.T) {
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	in := frames(t, srv, "Notify")

	whole := marshal(t, &pb.Message{Id: "m", Timestamp: "2026-01-02T03:04:05Z", Topic: "disk full", Message: "x"})
	in.send(whole)
	if id := in.ack(); id != "m" {
		t.Errorf("acked %q", id)
	}
	in.send(marshal(t, &pb.Message{Topic: "t"}))
	assigned := in.ack()
	in.send(marshal(t, &pb.Message{Id: "no topic", Message: "x"}))
	if id := in.ack(); id != "no topic" {
		t.Errorf("acked %q", id)
	}

	items := st.stored()
	if len(items) != 2 {
		t.Fatalf("stored %v", items)
	}
	if !bytes.Equal(items[0].Body, whole) || items[0].Subject != bridge.MessageSubject("disk full") || items[0].ID != bridge.NewID(whole) {
		t.Errorf("stored %v", items[0])
	}
	var m pb.Message
	if err := proto.Unmarshal(items[1].Body, &m); err != nil || m.Id != assigned || m.Timestamp == "" || m.Topic != "t" {
		t.Errorf("stored %v, %v", &m, err)
	}
	if dead := st.deadLetters(); len(dead) != 1 || dead[0].Reason != "topic is empty" {
		t.Errorf("dead letters %v", dead)
	}
	if got := srv.Inputs()[1]; got.Kind != "message" || got.Received != 3 || got.Stored != 2 || got.InFlight != 0 {
		t.Errorf("counted %+v", got)
	}
}

func TestManyStreamsOfTheGeneratedClient(t *testing.T) {
	const streams, logs = 20, 500
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st, MaxBuffered: 64 << 10})
	var wg sync.WaitGroup
	for i := range streams {
		in := input(t, srv)
		wg.Go(func() {
			for j := range logs {
				if err := in.Send(&pb.Log{Id: fmt.Sprintf("%d-%d", i, j), DataType: fmt.Sprint("type", j%3), Raw: "r"}); err != nil {
					t.Errorf("stream %d: send: %v", i, err)
					return
				}
			}
			in.CloseSend()
		})
		wg.Go(func() {
			last, want := -1, logs-1
			for {
				ack, err := in.Recv()
				if err != nil {
					if err != io.EOF || last != want {
						t.Errorf("stream %d: last ack %d, want %d, then %v", i, last, want, err)
					}
					return
				}
				before := last
				if fmt.Sscanf(strings.TrimPrefix(ack.LastId, fmt.Sprintf("%d-", i)), "%d", &last); last <= before {
					t.Errorf("stream %d: ack %s after %d", i, ack.LastId, before)
				}
			}
		})
	}
	wg.Wait()
	if n := len(st.stored()); n != streams*logs {
		t.Errorf("stored %d logs, want %d", n, streams*logs)
	}
}

func TestCompressedLogs(t *testing.T) {
	st := &store{}
	srv, _ := start(t, engine.Options{Publisher: st, Dead: st})
	in, err := pb.NewEngineClient(dial(t, srv)).Input(t.Context(), grpc.UseCompressor("gzip"))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Send(&pb.Log{Id: "z", Raw: strings.Repeat("r", 1000)}); err != nil {
		t.Fatal(err)
	}
	if ack, err := in.Recv(); err != nil || ack.LastId != "z" {
		t.Errorf("ack %v, %v", ack, err)
	}
}
