package wire_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

func TestScanLog(t *testing.T) {
	whole := &pb.Log{Id: "i", DataType: "t", DataSource: "s", Timestamp: "2026-01-02T03:04:05Z", TenantId: "n", Raw: "r ü"}
	b := marshal(t, whole)
	tests := []struct {
		name string
		b    []byte
		want *pb.Log
		err  error
		text string
	}{
		{"empty", nil, &pb.Log{}, nil, ""},
		{"whole", b, whole, nil, ""},
		{
			"last wins", wire.AppendTexts(slices.Clone(b), wire.Text{Number: wire.LogRaw, Value: "new"}, wire.Text{Number: wire.LogID}),
			&pb.Log{DataType: "t", DataSource: "s", Timestamp: "2026-01-02T03:04:05Z", TenantId: "n", Raw: "new"}, nil, "",
		},
		{"unknown fields", append(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 7), b...), whole, nil, ""},
		{"known number of another type", protowire.AppendVarint(protowire.AppendTag(slices.Clone(b), 6, protowire.VarintType), 7), whole, nil, ""},
		{"not UTF-8", append(slices.Clone(b), 6<<3|2, 1, 0xff), nil, wire.ErrUTF8, "field raw of Log is not UTF-8"},
		{"an overridden text that is not UTF-8", append([]byte{6<<3 | 2, 1, 0xff}, b...), nil, wire.ErrUTF8, "raw"},
		{"cut", b[:len(b)-1], nil, wire.ErrMalformed, "Log: malformed protobuf: "},
		{"length beyond the end", []byte{6<<3 | 2, 0xff, 0xff, 0xff, 0xff, 0x7f}, nil, wire.ErrMalformed, ""},
		{"number zero", []byte{2, 0}, nil, wire.ErrMalformed, ""},
		{"end of no group", []byte{9<<3 | 4}, nil, wire.ErrMalformed, ""},
		{"number too large", protowire.AppendVarint(nil, uint64(1<<29)<<3|2), nil, wire.ErrMalformed, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.ScanLog(tt.b)
			if !errors.Is(err, tt.err) || (tt.err == nil) != (err == nil) {
				t.Fatalf("ScanLog: %v, want %v", err, tt.err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %q lacks %q", err, tt.text)
				}
				return
			}
			if !proto.Equal(logOf(got), tt.want) {
				t.Errorf("got %v, want %v", logOf(got), tt.want)
			}
		})
	}
}

func TestScanKeepsWhatItReadBeforeAnError(t *testing.T) {
	b := marshal(t, &pb.Log{Id: "known", Raw: "r"})
	f, err := wire.ScanLog(b[:len(b)-1])
	if err == nil || string(f.ID) != "known" {
		t.Errorf("got id %q, error %v", f.ID, err)
	}
}

func TestScanReturnsPartsThatCannotGrowIntoTheNext(t *testing.T) {
	b := marshal(t, &pb.Log{Id: "id", Raw: "raw"})
	before := bytes.Clone(b)
	f, err := wire.ScanLog(b)
	if err != nil {
		t.Fatal(err)
	}
	if _ = append(f.ID, "xxxxxx"...); !bytes.Equal(b, before) {
		t.Error("appending to a field changed the message")
	}
}

func TestScanOfNestedMessages(t *testing.T) {
	e := &pb.Event{
		Id: "e", Timestamp: "t", DeviceTime: "d", DataType: "type", DataSource: "src", TenantId: "ten", TenantName: "name",
		Raw: "raw", Origin: &pb.Side{Ip: "192.0.2.1"}, StatusCode: 7, Errors: []string{"x", "y"},
	}
	ef, err := wire.ScanEvent(marshal(t, e))
	if err != nil || string(ef.ID) != "e" || string(ef.Timestamp) != "t" || string(ef.DeviceTime) != "d" ||
		string(ef.DataType) != "type" || string(ef.DataSource) != "src" || string(ef.TenantID) != "ten" ||
		string(ef.TenantName) != "name" || string(ef.Raw) != "raw" {
		t.Errorf("event: %+v, %v", ef, err)
	}
	a := &pb.Alert{
		Id: "a", Timestamp: "t", LastUpdate: "u", Name: "n", TenantId: "ten", TenantName: "tn", DataSource: "src",
		DataType: "type", Severity: "high", ParentId: "p", Events: []*pb.Event{e}, References: []string{"r"}, GroupBy: []string{"g"},
	}
	af, err := wire.ScanAlert(marshal(t, a))
	if err != nil || string(af.ID) != "a" || string(af.Timestamp) != "t" || string(af.LastUpdate) != "u" ||
		string(af.Name) != "n" || string(af.TenantID) != "ten" || string(af.TenantName) != "tn" ||
		string(af.DataSource) != "src" || string(af.DataType) != "type" || string(af.Severity) != "high" || string(af.ParentID) != "p" {
		t.Errorf("alert: %+v, %v", af, err)
	}
	if _, err := wire.ScanAlert(append(marshal(t, a), 22<<3&0x7f|2|0x80, 22>>4, 1, 0xff)); !errors.Is(err, wire.ErrUTF8) {
		t.Errorf("a repeated text that is not UTF-8: %v", err)
	}
}

func TestAppendTexts(t *testing.T) {
	sent := protowire.AppendString(protowire.AppendTag(nil, 77, protowire.BytesType), "from a newer plugin")
	sent = wire.AppendTexts(sent, wire.Text{Number: wire.LogRaw, Value: "r"})
	done := wire.AppendTexts(sent, wire.Text{Number: wire.LogID, Value: "i"}, wire.Text{Number: wire.LogTenantID, Value: "ten"})
	var got pb.Log
	if err := proto.Unmarshal(done, &got); err != nil {
		t.Fatal(err)
	}
	if got.Raw != "r" || got.Id != "i" || got.TenantId != "ten" || len(got.ProtoReflect().GetUnknown()) == 0 {
		t.Errorf("got %v", &got)
	}
	if !bytes.HasPrefix(done, sent) {
		t.Error("bytes before the appended fields changed")
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{6<<3 | 2, 1, 0xff})
	f.Add([]byte{11, 12, 0x0a, 1, 'x'})
	f.Add(marshal(f, &pb.Log{Id: "i", DataType: "t", Raw: "r"}))
	f.Add(marshal(f, &pb.Alert{Id: "i", References: []string{"x"}, Events: []*pb.Event{{Id: "e"}}, ParentId: "p"}))
	f.Add(marshal(f, &pb.Event{Id: "i", Origin: &pb.Side{Ip: "192.0.2.1"}, StatusCode: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var log pb.Log
		lf, err := wire.ScanLog(b)
		if want := proto.Unmarshal(b, &log); (err == nil) != (want == nil) {
			t.Fatalf("ScanLog: %v, Unmarshal: %v", err, want)
		} else if err == nil && !proto.Equal(logOf(lf), known(&log)) {
			t.Fatalf("ScanLog: %v, Unmarshal: %v", logOf(lf), &log)
		}
		var msg pb.Message
		mf, err := wire.ScanMessage(b)
		if want := proto.Unmarshal(b, &msg); (err == nil) != (want == nil) {
			t.Fatalf("ScanMessage: %v, Unmarshal: %v", err, want)
		} else if err == nil && (string(mf.ID) != msg.Id || string(mf.Timestamp) != msg.Timestamp ||
			string(mf.Topic) != msg.Topic || string(mf.Message) != msg.Message) {
			t.Fatalf("ScanMessage: %q, Unmarshal: %v", mf, &msg)
		}
		// A scan does not look into nested messages, so it may succeed where
		// Unmarshal fails, never the other way round.
		var event pb.Event
		ef, err := wire.ScanEvent(b)
		if proto.Unmarshal(b, &event) == nil && (err != nil || string(ef.ID) != event.Id || string(ef.Raw) != event.Raw ||
			string(ef.TenantID) != event.TenantId || string(ef.DataType) != event.DataType) {
			t.Fatalf("ScanEvent: %q, %v, Unmarshal: %v", ef, err, &event)
		}
		var alert pb.Alert
		af, err := wire.ScanAlert(b)
		if proto.Unmarshal(b, &alert) == nil && (err != nil || string(af.ID) != alert.Id || string(af.Name) != alert.Name ||
			string(af.TenantID) != alert.TenantId || string(af.ParentID) != alert.ParentId || string(af.Severity) != alert.Severity) {
			t.Fatalf("ScanAlert: %q, %v, Unmarshal: %v", af, err, &alert)
		}
	})
}

func BenchmarkScanLog(b *testing.B) {
	sent := marshal(b, &pb.Log{
		Id: "0198f3a1-7c1e-7d6e-9c53-0a1b2c3d4e5f", DataType: "linux", DataSource: "web-1",
		Timestamp: "2026-01-02T03:04:05.123456789Z", TenantId: "default", Raw: strings.Repeat("sshd[1]: Failed ", 25),
	})
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(sent)))
		for b.Loop() {
			if _, err := wire.ScanLog(sent); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(sent)))
		for b.Loop() {
			if err := proto.Unmarshal(sent, new(pb.Log)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func logOf(f wire.LogFields) *pb.Log {
	return &pb.Log{
		Id: string(f.ID), DataType: string(f.DataType), DataSource: string(f.DataSource),
		Timestamp: string(f.Timestamp), TenantId: string(f.TenantID), Raw: string(f.Raw),
	}
}

// known is the log without its unknown fields.
func known(l *pb.Log) *pb.Log {
	l.ProtoReflect().SetUnknown(nil)
	return l
}

func marshal(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
