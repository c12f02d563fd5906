package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/epmesh/epmesh/proto"
)

func FuzzIntake(f *testing.F) {
	for _, m := range []proto.Message{
		&pb.Log{}, &pb.Log{Raw: "r"}, &pb.Log{Id: "i", Raw: strings.Repeat("x", 300)}, &pb.Message{Topic: "t"},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{1<<3 | 2, 1, 0xff, 6<<3 | 2, 1, 'r'})
	f.Add([]byte("no protobuf"))
	in := intake{tenant: DefaultTenant, maxLog: 256}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, frame []byte) {
		frame = frame[:len(frame):len(frame)]
		e := in.log(frame, now)
		check(t, frame, e)
		if e.reason == taken {
			var l pb.Log
			if err := proto.Unmarshal(e.item.Body, &l); err != nil {
				t.Fatalf("what is stored is malformed: %v", err)
			}
			if l.Id != string(e.ackID) || l.Raw == "" || l.DataType == "" || l.DataSource == "" || l.Timestamp == "" || l.TenantId == "" {
				t.Fatalf("stored %v, acked %s", &l, e.ackID)
			}
		}
		e = in.message(frame, now)
		check(t, frame, e)
		if e.reason == taken {
			var m pb.Message
			if err := proto.Unmarshal(e.item.Body, &m); err != nil {
				t.Fatalf("what is stored is malformed: %v", err)
			}
			if m.Id != string(e.ackID) || m.Topic == "" || m.Timestamp == "" {
				t.Fatalf("stored %v, acked %s", &m, e.ackID)
			}
		}
	})
}

// check looks at what holds of every entry.
func check(t *testing.T, frame []byte, e entry) {
	t.Helper()
	if (e.reason == taken) != (e.text == "") {
		t.Fatalf("reason %v, text %q", e.reason, e.text)
	}
	if !bytes.HasPrefix(e.item.Body, frame) {
		t.Fatal("the body does not begin with what was sent")
	}
	if e.item.Subject == "" || strings.ContainsAny(e.item.Subject, " *>\x00") || strings.Contains(e.item.Subject, "..") {
		t.Fatalf("subject %q", e.item.Subject)
	}
	if b, err := proto.Marshal(&pb.Ack{LastId: string(e.ackID)}); err != nil || len(e.ackID) == 0 || len(b) > maxID+8 {
		t.Fatalf("ack of %q: %v", e.ackID, err)
	}
	if again, _ := proto.Marshal(&pb.Log{Id: string(e.ackID)}); len(again) == 0 {
		t.Fatal("no id")
	}
}

func TestSubjectsAreBounded(t *testing.T) {
	var in intake
	build := func(a, b string) string { return a + "." + b }
	for i := range 10 * maxSubjects {
		a := strings.Repeat("a", i)
		if s := in.subject([]byte(a), []byte("b"), build); s != a+".b" {
			t.Fatalf("subject %q", s)
		}
		if len(in.subjects) > maxSubjects || cap(in.key) > 4096 {
			t.Fatalf("%d subjects are remembered, the key has %d bytes", len(in.subjects), cap(in.key))
		}
	}
}

func BenchmarkIntake(b *testing.B) {
	raw := strings.Repeat("sshd[1]: Failed ", 25)
	for name, l := range map[string]*pb.Log{
		"whole":     {Id: "0198f3a1-7c1e-7d6e-9c53-0a1b2c3d4e5f", DataType: "linux", DataSource: "s", Timestamp: "2026-01-02T03:04:05Z", TenantId: "t", Raw: raw},
		"no tenant": {Id: "0198f3a1-7c1e-7d6e-9c53-0a1b2c3d4e5f", DataType: "linux", DataSource: "s", Timestamp: "2026-01-02T03:04:05Z", Raw: raw},
		"raw only":  {Raw: raw},
	} {
		b.Run(name, func(b *testing.B) {
			in := intake{tenant: DefaultTenant, maxLog: DefaultMaxLog}
			frame, err := proto.Marshal(l)
			if err != nil {
				b.Fatal(err)
			}
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				if e := in.log(frame[:len(frame):len(frame)], now); e.reason != taken {
					b.Fatal(e.text)
				}
			}
		})
	}
}

func TestTheDocumentationExplainsEveryReason(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range reasonNames[taken+1:] {
		if name == "" || !strings.Contains(string(doc), "| `"+name+"` |") {
			t.Errorf("docs/metrics.md does not explain %q", name)
		}
	}
}
