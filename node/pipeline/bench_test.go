package pipeline

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/epmesh/epmesh/proto"
)

// jsonLog is a log of about 500 bytes.
const jsonLog = `{"timestamp":"2026-09-23T14:00:00Z","src_ip":"198.51.100.7","src_port":51234,"dest_ip":"192.0.2.10","dest_port":443,"proto":"TCP","event_type":"alert","alert":{"action":"allowed","gid":1,"signature_id":2100498,"rev":7,"signature":"GPL ATTACK_RESPONSE id check","category":"Potentially Bad Traffic","severity":2},"flow":{"pkts_toserver":6,"pkts_toclient":5,"bytes_toserver":496,"bytes_toclient":876},"app_proto":"http","host":"sensor-1","in_iface":"eth0","flow_id":1234567890123}`

const jsonPipeline = `
pipeline:
  - dataTypes: [t]
    steps:
      - json: {source: raw}
      - rename: {from: [log.src_ip], to: origin.ip}
      - rename: {from: [log.dest_ip], to: target.ip}
      - rename: {from: [log.dest_port], to: target.port}
      - rename: {from: [log.proto], to: protocol}
      - add: {function: string, params: {key: action, value: alert}, where: 'equals("log.event_type", "alert")'}
`

const grokPipeline = `
pipeline:
  - dataTypes: [t]
    steps:
      - grok:
          patterns:
            - {fieldName: origin.ip, pattern: '{{.ipv4}}'}
            - {fieldName: log.ident, pattern: '\S+'}
            - {fieldName: origin.user, pattern: '\S+'}
            - {fieldName: log.time, pattern: '\[[^\]]+\]'}
            - {fieldName: log.request, pattern: '"[^"]*"'}
            - {fieldName: log.statusCode, pattern: '{{.integer}}'}
            - {fieldName: log.bytes, pattern: '{{.integer}}|-'}
            - {fieldName: log.referrer, pattern: '"[^"]*"'}
            - {fieldName: log.agent, pattern: '{{.greedy}}'}
      - trim: {function: prefix, substring: '[', fields: [log.time]}
      - cast: {fields: [log.statusCode], to: int}
      - rename: {from: [log.statusCode], to: statusCode}
`

const apacheLog = `198.51.100.7 - alice [23/Sep/2026:14:00:00 +0000] "GET /index.html?q=1 HTTP/1.1" 200 5123 "https://example.com/start" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"`

// BenchmarkRun measures from a log to the event's bytes.
func BenchmarkRun(b *testing.B) {
	for _, bench := range []struct{ name, pipeline, raw string }{
		{"none", "pipeline: []", jsonLog},
		{"json", "pipeline: [{dataTypes: [t], steps: [{json: {source: raw}}]}]", jsonLog},
		{"jsonRenamed", jsonPipeline, jsonLog},
		{"grok", grokPipeline, apacheLog},
	} {
		b.Run(bench.name, func(b *testing.B) {
			set, problems := build(b, bench.pipeline)
			if len(problems) > 0 {
				b.Fatal(problems)
			}
			log := &pb.Log{
				Id: "8f14e45f-ceea-467f-a8f4-1d0c7a8c1d2e", DataType: "t", DataSource: "sensor-1",
				Timestamp: "2026-09-23T14:00:00Z", TenantId: "00000000-0000-4000-8000-000000000001", Raw: bench.raw,
			}
			b.SetBytes(int64(len(bench.raw)))
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if r, err := set.Run(b.Context(), log, nil); err != nil || r.Errors > 0 {
					b.Fatal(r, err)
				}
			}
			perSecond(b, start)
		})
	}
}

// BenchmarkWhereFalse is the cost of a step whose condition is false: equality,
// by which steps are dispatched, and conditions that have to be evaluated.
func BenchmarkWhereFalse(b *testing.B) {
	const steps = 1000
	for _, bench := range []struct {
		name  string
		where func(i int) string
	}{
		{"equals", func(int) string { return `equals("log.alert.signature_id", 106001)` }},
		{"equalsEach", func(i int) string { return fmt.Sprintf(`equals("log.alert.signature_id", %d)`, 106000+i) }},
		{"exists", func(int) string { return `exists("log.none")` }},
		{"existsEach", func(i int) string { return fmt.Sprintf(`exists("log.none%d")`, i) }},
		{"existsAnd", func(int) string { return `exists("log.none") && equalsIgnoreCase("log.proto", "icmp")` }},
		{"contains", func(int) string { return `contains("log.alert.signature", "Trojan")` }},
		{"regexMatch", func(int) string { return `regexMatch("log.alert.signature", "Trojan [A-Z]+")` }},
		{"regexMatchAnchored", func(int) string { return `regexMatch("log.alert.signature", "^ET (TROJAN|MALWARE) .*$")` }},
		{"greaterThan", func(int) string { return `greaterThan("log.alert.severity", 3)` }},
		{"safe", func(int) string { return `safe("log.proto", "") == "UDP"` }},
		{"mixed", func(i int) string {
			return []string{
				`contains("log.alert.signature", "Trojan")`,
				`exists("log.none") && contains("log.none", "x")`,
				`regexMatch("log.alert.signature", "Trojan [A-Z]+")`,
				fmt.Sprintf(`equals("log.event_type", "type%d")`, i),
				fmt.Sprintf(`equals("log.alert.signature_id", %d) || greaterThan("log.alert.rev", 100)`, i),
			}[i%5]
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			text := "pipeline:\n  - dataTypes: [t]\n    steps:\n      - json: {source: raw}\n"
			var set [2]*Set
			set[0], _ = build(b, text)
			for i := range steps {
				text += "      - add: {function: string, params: {key: log.x, value: x}, where: '" + bench.where(i) + "'}\n"
			}
			set[1], _ = build(b, text)
			log := &pb.Log{DataType: "t", Raw: jsonLog}
			var took [2]time.Duration
			for b.Loop() {
				for i, s := range set {
					start := cpuTime()
					if r, err := s.Run(b.Context(), log, nil); err != nil || r.Errors > 0 {
						b.Fatal(r, err)
					}
					took[i] += cpuTime() - start
				}
			}
			b.ReportMetric(float64((took[1]-took[0]).Nanoseconds())/float64(b.N)/steps, "ns/step")
		})
	}
}

// BenchmarkEventBaseline is what the event's bytes would cost through JSON text
// and protojson, for comparison.
func BenchmarkEventBaseline(b *testing.B) {
	text := []byte(`{"id":"1","raw":"x","log":` + jsonLog + `}`)
	b.ReportAllocs()
	for b.Loop() {
		event := &pb.Event{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, event); err != nil {
			b.Fatal(err)
		}
		if _, err := proto.Marshal(event); err != nil {
			b.Fatal(err)
		}
	}
}
