package httpin

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// fuzzed are records with limits that a fuzzer reaches.
func fuzzed() *records {
	h := &hand{maxRequests: 1, maxBytes: 1 << 30}
	return &records{maxRecord: 1000, maxRecords: 100, room: h.enter()}
}

// sane checks what holds for records whatever came.
func sane(t *testing.T, rs *records) {
	t.Helper()
	if len(rs.all) > rs.maxRecords {
		t.Fatalf("%d records", len(rs.all))
	}
	for _, r := range rs.all {
		if r.raw == "" || len(r.raw) > 3*rs.maxRecord || !utf8.ValidString(r.raw) {
			t.Fatalf("record %q", r.raw)
		}
	}
	if taken := int(rs.room.bytes.Load()); taken < len(rs.all)*overhead {
		t.Fatalf("%d bytes taken for %d records", taken, len(rs.all))
	}
}

// What encoding/json takes for an array is taken, element by element, and what it
// does not is not.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`[1,"a",{"b":[]},[]]`, `[{"a":"]\"["} , 5]`, `{"a":1}{"b":2}`, "1\n2\n[3]", `[1,]`, `[,1]`, `["\ud800"]`, `[[[[`, `"\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rs := fuzzed()
		no := rs.json(body)
		sane(t, rs)
		if no != nil && no.text == "" {
			t.Fatal("no reason")
		}
		trimmed := bytes.TrimSpace(body)
		if len(trimmed) == 0 || trimmed[0] != '[' || !utf8.Valid(body) {
			return
		}
		var list []json.RawMessage
		err := json.Unmarshal(body, &list)
		if err != nil {
			// A sequence of values is one of ours; a deep one is none.
			d := json.NewDecoder(bytes.NewReader(body))
			err = nil
			for err == nil {
				var v json.RawMessage
				err = d.Decode(&v)
			}
			if no == nil && err != io.EOF {
				t.Fatalf("taken, and encoding/json says %v", err)
			}
			return
		}
		if no != nil {
			if !strings.Contains(no.text, "empty") && !strings.Contains(no.text, "max") && !strings.Contains(no.text, "deeper") {
				t.Fatalf("encoding/json takes it: %s", no.text)
			}
			return
		}
		if len(list) != len(rs.all) {
			t.Fatalf("%d records, want %d", len(rs.all), len(list))
		}
		for i, want := range list {
			if want[0] != '"' && string(want) != rs.all[i].raw {
				t.Fatalf("record %d is %q, want %q", i, rs.all[i].raw, want)
			}
			var s string
			if want[0] == '"' && json.Unmarshal(want, &s) == nil && s != rs.all[i].raw && !strings.Contains(s, "\uFFFD") {
				t.Fatalf("record %d is %q, want %q", i, rs.all[i].raw, s)
			}
		}
	})
}

func FuzzFields(f *testing.F) {
	f.Add([]byte(`{"id":"1","at":"2026-11-26T14:00:00Z","h":{"n":"x"},"msg":"m","type":5}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		rs := fuzzed()
		rs.path.Fields = fields{ID: "id", Timestamp: "at", DataSource: "h.n", DataType: "type", Raw: "msg"}
		rs.json(body)
		sane(t, rs)
		for _, r := range rs.all {
			if r.id != "" && r.timestamp == "" || r.dataType != "" && !sound(r.dataType) {
				t.Fatalf("%+v", r)
			}
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\n\n b \n\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		rs := fuzzed()
		no := rs.lines(body)
		sane(t, rs)
		var want []string
		for line := range strings.SplitSeq(string(body), "\n") {
			if line = strings.TrimSuffix(line, "\r"); line != "" {
				want = append(want, strings.ToValidUTF8(line, "\uFFFD"))
			}
		}
		if no == nil && len(want) != len(rs.all) {
			t.Fatalf("%d lines, want %d", len(rs.all), len(want))
		}
		for i, r := range rs.all {
			if r.raw != want[i] {
				t.Fatalf("line %d is %q, want %q", i, r.raw, want[i])
			}
		}
	})
}

func fuzzedOTLP() *otlp { return &otlp{records: fuzzed(), most: 1 << 20} }

// saneOTLP checks besides that every record is JSON.
func saneOTLP(t *testing.T, o *otlp) {
	t.Helper()
	sane(t, o.records)
	for _, r := range o.all {
		if !json.Valid([]byte(r.raw)) {
			t.Fatalf("no JSON: %s", r.raw)
		}
	}
	if o.seen != len(o.all)+o.rejected {
		t.Fatalf("%d came, %d were taken and %d left out", o.seen, len(o.all), o.rejected)
	}
}

// Whatever protobuf takes, the two forms of it come to the same records.
func FuzzOTLPProtobuf(f *testing.F) {
	b, err := proto.Marshal(everything())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("\x0a\x06\x12\x04\x12\x02\x08\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		o := fuzzedOTLP()
		no := o.protobuf(body)
		saneOTLP(t, o)
		var m logs.LogsData
		if proto.Unmarshal(body, &m) != nil {
			return
		}
		if no == errWire {
			t.Fatal("protobuf takes it")
		}
		// Merged fields, unknown ones and ids that are none have no equal in JSON.
		plain(&m)
		canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(&m)
		if err != nil {
			return
		}
		one, two := fuzzedOTLP(), fuzzedOTLP()
		noOne, noTwo := one.protobuf(canonical), two.json(otlpText(t, &m))
		saneOTLP(t, two)
		if noOne != nil || noTwo != nil {
			if noOne == nil && !strings.Contains(noTwo.text, "max") && !strings.Contains(noTwo.text, "ExportLogs") || noTwo == nil {
				t.Fatalf("protobuf %v, JSON %v", noOne, noTwo)
			}
			return
		}
		if len(one.all) != len(two.all) || one.rejected != two.rejected {
			t.Fatalf("protobuf %d and %d, JSON %d and %d", len(one.all), one.rejected, len(two.all), two.rejected)
		}
		for i := range one.all {
			if a, b := gjson.Get(one.all[i].raw, "@ugly").Raw, gjson.Get(two.all[i].raw, "@ugly").Raw; a != b {
				t.Fatalf("record %d is\n%s and\n%s", i, a, b)
			}
		}
	})
}

// plain takes off what OTLP's JSON cannot say.
func plain(m *logs.LogsData) {
	for _, r := range m.ResourceLogs {
		for _, s := range r.GetScopeLogs() {
			for _, l := range s.GetLogRecords() {
				l.TraceId, l.SpanId = nil, nil
				l.SeverityNumber = max(0, l.SeverityNumber)
			}
		}
	}
}

func FuzzOTLPJSON(f *testing.F) {
	f.Add(otlpText(f, everything()))
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"arrayValue":{"values":[{"intValue":5},{"doubleValue":"NaN"}]}}}]}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		o := fuzzedOTLP()
		if no := o.json(body); no != nil && no.text == "" {
			t.Fatal("no reason")
		}
		saneOTLP(t, o)
	})
}

// A body never becomes more than its limit, however it is packed.
func FuzzBody(f *testing.F) {
	for _, encoding := range []string{"gzip", "deflate", "zstd"} {
		f.Add(packed(f, encoding, []byte("hello")), encoding)
		f.Add(packed(f, encoding, make([]byte, 1<<16)), encoding)
	}
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		h := &hand{maxRequests: 1, maxBytes: 1 << 20}
		c := h.enter()
		b, no := readBody(bytes.NewReader(body), -1, encoding, 10_000, c)
		if no == nil && len(b) > 10_000 {
			t.Fatalf("%d bytes", len(b))
		}
		if taken := int(c.bytes.Load()); taken < cap(b) || taken > 40_000 {
			t.Fatalf("%d bytes taken for %d", taken, cap(b))
		}
		c.release()
		if requests, bytes := h.state(); requests != 0 || bytes != 0 {
			t.Fatalf("%d and %d are left", requests, bytes)
		}
	})
}

func FuzzJournal(f *testing.F) {
	key := sum("k")
	f.Add(begunLine(key, sum("b"), time.Unix(0, 5)) + storedLine(key, 5) + "begun x")
	f.Fuzz(func(t *testing.T, text string) {
		k := &keys{most: 10, known: map[digest]*known{}}
		for line := range strings.SplitSeq(text, "\n") {
			k.take(line)
		}
		for _, e := range k.known {
			if e.busy != nil || e.stored < -1 {
				t.Fatalf("%+v", e)
			}
		}
	})
}
