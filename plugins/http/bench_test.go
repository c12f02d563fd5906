package httpin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// benchBodies are requests of 1000 records of about 300 bytes.
func benchBodies(b *testing.B) map[string][2]string {
	b.Helper()
	var lines, nd strings.Builder
	m := &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{{}}}}}
	for i := range 1000 {
		text := fmt.Sprintf("%06d Failed password for root from 203.0.113.7 port 22 ssh2 %s", i, strings.Repeat("x", 240))
		lines.WriteString(text + "\n")
		fmt.Fprintf(&nd, `{"time":"2026-11-26T14:00:00Z","n":%d,"msg":%q}`+"\n", i, text[:250])
		m.ResourceLogs[0].ScopeLogs[0].LogRecords = append(m.ResourceLogs[0].ScopeLogs[0].LogRecords, &logs.LogRecord{
			TimeUnixNano: uint64(1_764_165_600_000_000_000 + i), Body: str(text[:200]), Attributes: []*common.KeyValue{attr("host", str("web-1")), attr("app", str("shop"))},
		})
	}
	otlp, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	return map[string][2]string{
		"lines": {asText, lines.String()}, "ndjson": {asNDJSON, nd.String()}, "otlp": {mediaProtobuf, string(otlp)},
	}
}

// post sends one request.
func post(b *testing.B, c *http.Client, url, media, body string) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	resp, err := c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.Fatal(resp.Status)
	}
}

// BenchmarkRequests compares the plugin, whose records are stored by an engine in
// this process, and its decoding alone, with a bare handler that only reads the
// body. x-of-bare is how many times as long the plugin takes.
func BenchmarkRequests(b *testing.B) {
	bare := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer bare.Close()
	for name, request := range benchBodies(b) {
		b.Run(name, func(b *testing.B) {
			w := runOver(b, enginetest.New(b, shortdir.New(b)), local)
			path := "/logs"
			if name == "otlp" {
				path = "/v1/logs"
			}
			b.SetBytes(int64(len(request[1])))
			for b.Loop() {
				post(b, w.client, w.url+path, request[0], request[1])
			}
			each := b.Elapsed() / time.Duration(b.N)
			began := time.Now()
			for range b.N {
				post(b, w.client, bare.URL, request[0], request[1])
			}
			alone := time.Since(began) / time.Duration(b.N)
			began = time.Now()
			s := w.server
			for range b.N {
				room := (&hand{maxRequests: 1, maxBytes: 1 << 30}).enter()
				body, no := readBody(bytes.NewReader([]byte(request[1])), int64(len(request[1])), "", s.MaxBody, room)
				if no != nil {
					b.Fatal(no)
				}
				rs := s.records(path1(name), room)
				switch name {
				case "lines":
					no = rs.lines(body)
				case "ndjson":
					no = rs.json(body)
				default:
					no = (&otlp{records: rs, most: 4 * s.MaxBody}).protobuf(body)
				}
				if no != nil || len(rs.all) != 1000 {
					b.Fatal(no, len(rs.all))
				}
			}
			decoding := time.Since(began) / time.Duration(b.N)
			// The kit's Input alone, with as many logs of the same size.
			began = time.Now()
			for i := range b.N {
				for n := range 1000 {
					if err := s.in.Send(b.Context(), &plugins.Log{Id: fmt.Sprintf("%d-%d", i, n), DataType: "x", DataSource: "y", Timestamp: "2026-11-26T14:00:00Z", Raw: strings.Repeat("x", 300)}); err != nil {
						b.Fatal(err)
					}
				}
				if err := s.in.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			sending := time.Since(began) / time.Duration(b.N)
			b.ReportMetric(1000/each.Seconds(), "records/s")
			b.ReportMetric(float64(each)/float64(sending), "x-of-input-alone")
			b.ReportMetric(float64(each)/float64(alone), "x-of-bare")
			b.ReportMetric(float64(decoding)/float64(alone), "x-decoding-of-bare")
			b.ReportMetric(1000/decoding.Seconds(), "decoded/s")
		})
	}
}

func path1(name string) path {
	if name == "otlp" {
		return path{Format: formatOTLP}
	}
	return path{}
}
