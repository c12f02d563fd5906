package httpin

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/tidwall/gjson"
)

// record is one log to be, with what it says of itself.
type record struct {
	raw                                 string
	id, timestamp, dataType, dataSource string
	host                                string // a source to fall back on
}

// overhead is what a record takes beside its text, in bytes: the log, its id,
// and its place among what is on its way.
const overhead = 512

// records collects the records of one request within its limits.
type records struct {
	all        []record
	path       path
	maxRecord  int
	maxRecords int
	room       *claim
	taken      int // records that room was taken for
}

// add takes one record. The error says which one it is.
func (rs *records) add(r record) *refusal {
	n := len(rs.all)
	switch {
	case n >= rs.maxRecords:
		return refuse(http.StatusRequestEntityTooLarge, "more than %d records (maxRecords): send them in parts", rs.maxRecords)
	case r.raw == "":
		return wrong(n, "record %d is empty", n)
	case len(r.raw) > rs.maxRecord:
		no := wrong(n, "record %d has %d bytes, more than %d (maxRecord)", n, len(r.raw), rs.maxRecord)
		no.status = http.StatusRequestEntityTooLarge
		return no
	}
	if n == rs.taken {
		// A growing share at a time, so that small requests take little.
		more := min(max(16, n), rs.maxRecords-n)
		if !rs.room.take(more * overhead) {
			return again(http.StatusTooManyRequests, "as much is in hand as may be (maxInHand)")
		}
		rs.taken += more
	}
	for _, field := range []struct{ name, value string }{{"id", r.id}, {"dataType", r.dataType}, {"dataSource", r.dataSource}, {"host name", r.host}} {
		if field.value != "" && !sound(field.value) {
			return wrong(n, "record %d: its %s is no printable text of at most %d bytes", n, field.name, maxName)
		}
	}
	r.raw = strings.ToValidUTF8(r.raw, "\uFFFD")
	rs.all = append(rs.all, r)
	return nil
}

// lines takes each line that is not empty.
func (rs *records) lines(body []byte) *refusal {
	rest := text(body)
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if line = strings.TrimSuffix(line, "\r"); line == "" {
			continue
		}
		if no := rs.add(record{raw: line}); no != nil {
			return no
		}
	}
	return nil
}

// maxDepth is how deep JSON may be nested.
const maxDepth = 128

// json takes a sequence of JSON values, one a line or otherwise set apart by
// white space or nothing; of an array at the top, each element.
func (rs *records) json(body []byte) *refusal {
	body = bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF"))
	for i := skip(body, 0); i < len(body); i = skip(body, i) {
		if body[i] != '[' {
			end, no := rs.value(body, i)
			if no != nil {
				return no
			}
			i = end
			continue
		}
		i = skip(body, i+1)
		for first := true; ; first = false {
			if i < len(body) && body[i] == ']' && first {
				i++
				break
			}
			end, no := rs.value(body, i)
			if no != nil {
				return no
			}
			i = skip(body, end)
			if i < len(body) && body[i] == ']' {
				i++
				break
			}
			if i >= len(body) || body[i] != ',' {
				return wrong(len(rs.all), "after record %d, at byte %d: want a comma or the end of the array", len(rs.all)-1, i)
			}
			i = skip(body, i+1)
		}
	}
	return nil
}

// value takes the JSON value at i as a record and returns where it ends.
func (rs *records) value(body []byte, i int) (int, *refusal) {
	n := len(rs.all)
	end, err := valueEnd(body, i)
	if err == nil && !gjson.ValidBytes(body[i:end]) {
		err = fmt.Errorf("no valid JSON")
	}
	if err != nil {
		return 0, wrong(n, "record %d, at byte %d: %v", n, i, err)
	}
	r := record{raw: text(body[i:end])}
	switch body[i] {
	case '"':
		r.raw = gjson.Parse(r.raw).String()
	case 'n':
		r.raw = "" // null
	case '{':
		if no := rs.fields(&r, n); no != nil {
			return 0, no
		}
	}
	return end, rs.add(r)
}

// fields reads what the path says stands in each record.
func (rs *records) fields(r *record, n int) *refusal {
	f := rs.path.Fields
	if f == (fields{}) {
		return nil
	}
	whole := r.raw
	get := func(path string) string {
		if path == "" {
			return ""
		}
		if v := gjson.Get(whole, path); v.Type == gjson.String || v.Type == gjson.Number {
			return v.String()
		}
		return ""
	}
	r.id, r.dataType, r.dataSource = get(f.ID), get(f.DataType), get(f.DataSource)
	if v := get(f.Timestamp); v != "" {
		at, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return wrong(n, "record %d: %s is %.40q, want a time such as 2026-11-26T14:00:00Z", n, f.Timestamp, v)
		}
		r.timestamp = at.UTC().Format(time.RFC3339Nano)
	}
	if r.id != "" && r.timestamp == "" {
		return wrong(n, "record %d has an id and no time in %s: sent again it would be another log", n, f.Timestamp)
	}
	if v := get(f.Raw); v != "" {
		r.raw = v
	}
	return nil
}

// skip is where something stands that is not white space.
func skip(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// valueEnd is where the JSON value at i ends. Whether it is one is not said; that
// it is not nested too deep is.
func valueEnd(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, fmt.Errorf("a value is missing")
	}
	depth := 0
	for at := i; at < len(b); at++ {
		switch b[at] {
		case '"':
			at++
			for at < len(b) && b[at] != '"' {
				if b[at] == '\\' {
					at++
				}
				at++
			}
			if at >= len(b) {
				return 0, fmt.Errorf("a text has no end")
			}
			if depth == 0 {
				return at + 1, nil
			}
		case '{', '[':
			if depth++; depth > maxDepth {
				return 0, fmt.Errorf("nested deeper than %d", maxDepth)
			}
		case '}', ']':
			if depth--; depth <= 0 {
				if depth < 0 { // of the array around a plain value
					return at, nil
				}
				return at + 1, nil
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return at, nil
			}
		}
	}
	if depth > 0 {
		return 0, fmt.Errorf("it has no end")
	}
	return len(b), nil
}

// text is b as a string, without a copy: a body is not changed once it is read.
func text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

// clip shortens a text that a client said for the log.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		s = s[:most]
		for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) {
			s = s[:len(s)-1]
		}
	}
	return s
}
