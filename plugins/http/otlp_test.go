package httpin

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func str(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

func attr(key string, v *common.AnyValue) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: v}
}

func everything() *logs.LogsData {
	number := func(n int64) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}
	}
	double := func(f float64) *common.AnyValue {
		return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: f}}
	}
	list := &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{
		str("x"), number(math.MinInt64), double(1.5), double(math.Inf(-1)), {}, {Value: &common.AnyValue_BoolValue{BoolValue: true}},
	}}}}
	mapping := &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: []*common.KeyValue{
		attr("list", list), attr("bytes", &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: []byte{0, 255}}}),
		attr("none", &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{}}}),
	}}}}
	return &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{
		{
			Resource:  &resource.Resource{Attributes: []*common.KeyValue{attr("service.name", str("shop")), attr("host.name", str("web-1"))}},
			SchemaUrl: "https://example.com/r",
			ScopeLogs: []*logs.ScopeLogs{{
				Scope:     &common.InstrumentationScope{Name: "lib", Version: "1.2", Attributes: []*common.KeyValue{attr("a", number(1))}},
				SchemaUrl: "https://example.com/s",
				LogRecords: []*logs.LogRecord{
					{
						TimeUnixNano: 1_764_165_600_000_000_001, ObservedTimeUnixNano: 1_764_165_601_000_000_000,
						SeverityNumber: logs.SeverityNumber_SEVERITY_NUMBER_WARN, SeverityText: "WARN",
						Body: str("it \"broke\"\n\x01\u00e9"), Attributes: []*common.KeyValue{attr("k", mapping), attr("kind", str("app"))},
						DroppedAttributesCount: 2, Flags: 1, EventName: "broke",
						TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567"),
					},
					{Body: mapping},
				},
			}},
		},
		{ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{{Body: str("plain")}}}}},
	}}
}

const wantFirst = `{"time":"2025-11-26T14:00:00.000000001Z","observedTime":"2025-11-26T14:00:01Z","severityNumber":13,"severityText":"WARN",` +
	`"droppedAttributesCount":2,"flags":1,"traceId":"30313233343536373839616263646566","spanId":"3031323334353637","eventName":"broke",` +
	`"body":"it \"broke\"\n\u0001é","attributes":{"k":{"list":["x",-9223372036854775808,1.5,"-Infinity",null,true],"bytes":"AP8=","none":{}},"kind":"app"},` +
	`"resource":{"service.name":"shop","host.name":"web-1"},"resourceSchemaUrl":"https://example.com/r",` +
	`"scope":{"name":"lib","version":"1.2","attributes":{"a":1}},"scopeSchemaUrl":"https://example.com/s"}`

var idText = regexp.MustCompile(`"(traceId|spanId)":\s*"([^"]*)"`)

// otlpText is protobuf's JSON with ids in hexadecimal and enums as numbers, as OTLP
// has it.
func otlpText(t testing.TB, m *logs.LogsData) []byte {
	t.Helper()
	b, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.ResourceLogs {
		for _, s := range r.GetScopeLogs() {
			for _, l := range s.GetLogRecords() {
				for name, id := range map[string][]byte{"traceId": l.GetTraceId(), "spanId": l.GetSpanId()} {
					old := idText.FindAllSubmatch(b, -1)
					for _, o := range old {
						if string(o[1]) == name && string(o[2]) != "" && base64Of(id) == string(o[2]) {
							b = []byte(strings.Replace(string(b), string(o[0]), fmt.Sprintf(`"%s":"%s"`, name, hex.EncodeToString(id)), 1))
							break
						}
					}
				}
			}
		}
	}
	return b
}

func base64Of(b []byte) string {
	text, _ := json.Marshal(b)
	return strings.Trim(string(text), `"`)
}

func TestOTLP(t *testing.T) {
	w := run(t, with(`"paths":[{"path":"/v1/logs","format":"otlp"},
		{"path":"/body","format":"otlp","bodyOnly":true,"dataSource":"set","fields":{"dataType":"kind","timestamp":"time"}}]`, `"maxRecord":2000`))
	m := everything()
	binary, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	text := otlpText(t, m)
	for _, c := range []struct{ media, encoding, body, answer string }{
		{mediaProtobuf, "", string(binary), ""},
		{mediaProtobuf, "gzip", string(binary), ""},
		{mediaJSON, "", string(text), "{}"},
		{mediaJSON, "zstd", string(text), "{}"},
	} {
		before := len(w.Stored())
		status, answer, h := w.call(t, "/v1/logs", packed(t, c.encoding, []byte(c.body)), "Content-Type", c.media, "Content-Encoding", c.encoding)
		if status != 200 || answer != c.answer || h.Get("Content-Type") != c.media {
			t.Errorf("%s: %d %q %s", c.media, status, answer, h.Get("Content-Type"))
			continue
		}
		got := w.Stored()[before:]
		if len(got) != 3 {
			t.Fatalf("%d logs", len(got))
		}
		if got[0].Raw != wantFirst || got[0].DataSource != "web-1" {
			t.Errorf("%s:\ngot  %s\nwant %s", c.media, got[0].Raw, wantFirst)
		}
		for _, l := range got {
			if !gjson.Valid(l.Raw) {
				t.Errorf("no JSON: %s", l.Raw)
			}
		}
		if got[2].Raw != `{"body":"plain"}` || got[2].DataSource != "127.0.0.1" {
			t.Errorf("the plain one: %v", got[2])
		}
	}
	before := len(w.Stored())
	w.want(t, 200, "", "/body", binary, "Content-Type", mediaProtobuf)
	got := w.Stored()[before:]
	if l := got[0]; l.Raw != "it \"broke\"\n\x01é" || l.DataType != "app" || l.DataSource != "set" || l.Timestamp != "2025-11-26T14:00:00.000000001Z" {
		t.Errorf("body only: %v", l)
	}
	if !strings.HasPrefix(got[1].Raw, `{"body":{"list"`) {
		t.Errorf("a body that is no text: %s", got[1].Raw)
	}

	// What cannot be taken is left out, and told.
	long := &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{
		{Body: str("good")}, {Body: str(strings.Repeat("x", 3000))}, {}, {Body: str("too")},
	}}}}}}
	if binary, err = proto.Marshal(long); err != nil {
		t.Fatal(err)
	}
	answer, _ := w.want(t, 200, "", "/v1/logs", binary, "Content-Type", mediaProtobuf)
	rejected, reason := partial(t, []byte(answer))
	if rejected != 2 || !strings.Contains(reason, "record 1 has more than 2000 bytes") {
		t.Errorf("partial success: %d, %s", rejected, reason)
	}
	answer, _ = w.want(t, 200, `"rejectedLogRecords":"2"`, "/v1/logs", otlpText(t, long), "Content-Type", mediaJSON)
	if gjson.Get(answer, "partialSuccess.errorMessage").String() == "" {
		t.Error(answer)
	}
	if raws := w.Raws(); !slices.Equal(raws[len(raws)-2:], []string{`{"body":"good"}`, `{"body":"too"}`}) {
		t.Errorf("stored: %q", raws[len(raws)-2:])
	}

	// Errors are a google.rpc.Status.
	answer, _ = w.want(t, 400, "no ExportLogsServiceRequest", "/v1/logs", []byte("{"), "Content-Type", mediaJSON)
	if gjson.Get(answer, "code").Int() != 3 {
		t.Error(answer)
	}
	answer, _ = w.want(t, 400, "", "/v1/logs", []byte("\x0a\xff"), "Content-Type", mediaProtobuf)
	if n, kind, size := protowire.ConsumeTag([]byte(answer)); n != 1 || kind != protowire.VarintType || size < 0 {
		t.Errorf("status: %q", answer)
	}
	w.want(t, 415, "", "/v1/logs", nil, "Content-Type", asText)
	for body, part := range map[string]string{
		`{"resourceLogs":5}`:   "no list",
		`{"resourceLogs":[5]}`: "no mapping",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"x"}]}]}]}`:      "record 0: its timeUnixNano",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"intValue":"x"}}]}]}]}`: "record 0: a value",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"xyz"}]}]}]}`:         "record 0: its traceId",
		strings.Repeat(`{"a":`, 1000): "no ExportLogsServiceRequest",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + nested(40) + `}]}]}]}`:                              "nested deeper",
		`{"resourceLogs":[{"resource":{"attributes":{}}}]}`:                                                            "no list",
		`{"unknown":[1],"resourceLogs":null}{"resourceLogs":[]}`:                                                       "no ExportLogsServiceRequest",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":"high"}]}]}]}`:                                "its severityNumber",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"bytesValue":"%%"}}]}]}]}`:                             "a value",
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"attributes":[{"key":"a","value":{"doubleValue":"x"}}]}]}]}]}`: "a value",
	} {
		w.want(t, 400, part, "/v1/logs", []byte(body), "Content-Type", mediaJSON)
	}
}

func nested(n int) string {
	return strings.Repeat(`{"arrayValue":{"values":[`, n) + `{}` + strings.Repeat(`]}}`, n)
}

// partial reads an ExportLogsServiceResponse.
func partial(t *testing.T, b []byte) (rejected uint64, reason string) {
	t.Helper()
	_, _ = eachField(b, func(f wire) *refusal {
		_, no := eachField(f.bytes, func(f wire) *refusal {
			switch f.number {
			case 1:
				rejected = f.n
			case 2:
				reason = string(f.bytes)
			}
			return nil
		})
		return no
	})
	return rejected, reason
}

// A large resource is written with each record: what that may come to is bounded.
func TestOTLPAmplification(t *testing.T) {
	w := run(t, with("", `"maxBody":65536,"maxInHand":65536`))
	m := &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  &resource.Resource{Attributes: []*common.KeyValue{attr("k", str(strings.Repeat("r", 30_000)))}},
		ScopeLogs: []*logs.ScopeLogs{{}},
	}}}
	for range 1000 {
		m.ResourceLogs[0].ScopeLogs[0].LogRecords = append(m.ResourceLogs[0].ScopeLogs[0].LogRecords, &logs.LogRecord{Body: str("x")})
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	w.want(t, 413, "4 times maxBody", "/v1/logs", b, "Content-Type", mediaProtobuf)
	if requests, bytes := w.server.hand.state(); requests != 0 || bytes != 0 {
		t.Errorf("%d requests with %d bytes in hand", requests, bytes)
	}
}
