package httpin

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// refusal is why a request is not taken, and what its client is told.
type refusal struct {
	status int
	text   string
	// record is the index of the record that is wrong, -1 where it is not one.
	record int
	// retry says that the client should come again.
	retry bool
}

func (r *refusal) Error() string { return r.text }

// refuse makes a refusal that is not about one record.
func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, text: fmt.Sprintf(format, args...), record: -1}
}

// wrong is a refusal of the record with this index, counted from 0.
func wrong(record int, format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, text: fmt.Sprintf(format, args...), record: record}
}

// again is a refusal of what may come again.
func again(status int, format string, args ...any) *refusal {
	r := refuse(status, format, args...)
	r.retry = true
	return r
}

// result is what became of a request that was taken.
type result struct {
	stored   int
	repeated bool // it was stored before
	// rejected are records that an OTLP request was answered without, and why.
	rejected int
	reason   string
}

// reply is the shape of all answers but OTLP's.
type reply struct {
	Stored   int    `json:"stored"`
	Repeated bool   `json:"repeated,omitempty"`
	Error    string `json:"error,omitempty"`
	Record   *int   `json:"record,omitempty"`
}

// answer writes what became of a request: in OTLP's form where it asked so.
func (s *server) answer(w http.ResponseWriter, form otlpForm, done result, no *refusal) {
	status := http.StatusOK
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if no != nil {
		status = no.status
		if no.retry {
			h.Set("Retry-After", strconv.Itoa(int(math.Ceil(s.RetryAfter.D().Seconds()))))
		}
		switch status {
		case http.StatusUnauthorized:
			h.Set("WWW-Authenticate", `Bearer realm="epmesh"`)
		case http.StatusMethodNotAllowed:
			h.Set("Allow", http.MethodPost)
		case http.StatusUnsupportedMediaType:
			h.Set("Accept-Encoding", "gzip, deflate, zstd")
		case http.StatusRequestEntityTooLarge:
			h.Set("Connection", "close") // the rest of the body is not read
		}
	}
	var body []byte
	switch form {
	case otlpProtobuf:
		h.Set("Content-Type", mediaProtobuf)
		body = otlpBinaryAnswer(done, no)
	case otlpJSON:
		h.Set("Content-Type", mediaJSON)
		body = otlpTextAnswer(done, no)
	default:
		h.Set("Content-Type", mediaJSON)
		r := reply{Stored: done.stored, Repeated: done.repeated}
		if no != nil {
			r = reply{Error: no.text}
			if no.record >= 0 {
				r.Record = &no.record
			}
		}
		body, _ = json.Marshal(r) // texts and numbers
		body = append(body, '\n')
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone comes again or does not
}

// otlpBinaryAnswer is an ExportLogsServiceResponse, or a google.rpc.Status.
func otlpBinaryAnswer(done result, no *refusal) []byte {
	var b []byte
	if no != nil {
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(rpcCode(no.status)))
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		return protowire.AppendString(b, no.text)
	}
	if done.rejected == 0 {
		return nil
	}
	var partial []byte
	partial = protowire.AppendTag(partial, 1, protowire.VarintType)
	partial = protowire.AppendVarint(partial, uint64(done.rejected))
	partial = protowire.AppendTag(partial, 2, protowire.BytesType)
	partial = protowire.AppendString(partial, done.reason)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendBytes(b, partial)
}

// otlpTextAnswer is the same in protobuf's JSON, where 64-bit numbers are texts.
func otlpTextAnswer(done result, no *refusal) []byte {
	var v any = struct{}{}
	if no != nil {
		v = map[string]any{"code": rpcCode(no.status), "message": no.text}
	} else if done.rejected > 0 {
		v = map[string]any{"partialSuccess": map[string]any{
			"rejectedLogRecords": strconv.Itoa(done.rejected), "errorMessage": done.reason,
		}}
	}
	b, _ := json.Marshal(v) // texts and numbers
	return b
}

// rpcCode is the gRPC code that goes with an HTTP status.
func rpcCode(status int) int {
	switch status {
	case http.StatusUnauthorized:
		return 16
	case http.StatusForbidden:
		return 7
	case http.StatusTooManyRequests:
		return 8
	case http.StatusServiceUnavailable:
		return 14
	case http.StatusConflict:
		return 6
	}
	return 3
}
