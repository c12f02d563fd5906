package httpin

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// otlpForm is the form of an OTLP request, and of its answer.
type otlpForm int

const (
	notOTLP otlpForm = iota
	otlpProtobuf
	otlpJSON
)

const (
	mediaJSON     = "application/json"
	mediaProtobuf = "application/x-protobuf"
)

// An OTLP request is read without being made into messages first: a few bytes of
// it can stand for hundreds in memory. It becomes one JSON text a log record;
// docs/plugins/http.md has the mapping.
//
// otlp collects the records of a request.
type otlp struct {
	*records
	seen     int // log records that came
	rejected int
	reason   string
	written  int // bytes of texts that were made
	most     int // how many there may be

	resource, scope surroundings
}

// surroundings are what the records of a resource or a scope have in common.
type surroundings struct {
	json                 []byte // `,"resource":{...}`, empty where there is nothing
	dataType, dataSource string // from the attributes that name them
	host, service        string // host.name, service.name
}

// logRecord is one record while it is read.
type logRecord struct {
	time, observed uint64 // Unix nanoseconds
	fields         []byte // severity and the like, rendered
	body           []byte // rendered
	text           string // the body, where it is a text
	isText         bool
	attributes     surroundings
}

// done renders a record and takes it. What is wrong with it, and not with the
// request, leaves it out and is told: that is what OTLP's partial success is for.
func (o *otlp) done(l *logRecord) *refusal {
	o.seen++
	r := record{
		dataType:   first(l.attributes.dataType, o.scope.dataType, o.resource.dataType),
		dataSource: first(l.attributes.dataSource, o.scope.dataSource, o.resource.dataSource),
	}
	if r.host = first(o.resource.host, o.resource.service); !sound(r.host) {
		r.host = ""
	}
	switch o.path.Fields.Timestamp {
	case "":
	case "observedTime":
		r.timestamp = stamp(l.observed)
	default:
		if r.timestamp = stamp(l.time); r.timestamp == "" {
			r.timestamp = stamp(l.observed)
		}
	}
	if o.path.Body && l.isText && l.text != "" {
		r.raw = l.text
	} else {
		b := make([]byte, 0, 96+len(l.fields)+len(l.body)+len(l.attributes.json)+len(o.resource.json)+len(o.scope.json))
		if cap(b) > o.maxRecord+96 {
			return o.reject("record %d has more than %d bytes with its resource (maxRecord)", o.seen-1, o.maxRecord)
		}
		if s := stamp(l.time); s != "" {
			b = append(append(append(b, `,"time":"`...), s...), '"')
		}
		if s := stamp(l.observed); s != "" {
			b = append(append(append(b, `,"observedTime":"`...), s...), '"')
		}
		b = append(b, l.fields...)
		if l.body != nil {
			b = append(append(b, `,"body":`...), l.body...)
		}
		for _, part := range [][]byte{l.attributes.json, o.resource.json, o.scope.json} {
			b = append(b, part...)
		}
		if len(b) == 0 {
			return o.reject("record %d is empty", o.seen-1)
		}
		b[0] = '{'
		r.raw = text(append(b, '}'))
		if o.written += len(b); o.written > o.most {
			return o.tooMuch()
		}
		if !o.room.take(cap(b)) {
			return again(http.StatusTooManyRequests, "as much is in hand as may be (maxInHand)")
		}
	}
	no := o.add(r)
	if no != nil && no.record >= 0 {
		return o.reject("record %d: %s", o.seen-1, strings.TrimPrefix(no.text, "record "+strconv.Itoa(no.record)+": "))
	}
	return no
}

func (o *otlp) tooMuch() *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "the records have more than %d bytes with their resources (4 times maxBody): send them in parts", o.most)
}

// reject leaves a record out. The first reason is told.
func (o *otlp) reject(format string, args ...any) *refusal {
	if o.rejected++; o.rejected == 1 {
		o.reason = refuse(0, format, args...).text
	}
	return nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// stamp is a time of OTLP; its zero is none.
func stamp(nanos uint64) string {
	if nanos == 0 || nanos > math.MaxInt64 {
		return ""
	}
	return time.Unix(0, int64(nanos)).UTC().Format(time.RFC3339Nano)
}

// note remembers an attribute that says where a log is from. key and value are
// as they came; value is only looked at where it is a text.
func (o *otlp) note(s *surroundings, key, value string) {
	switch key {
	case "":
	case o.path.Fields.DataType:
		s.dataType = value
	case o.path.Fields.DataSource:
		s.dataSource = value
	case "host.name":
		s.host = value
	case "service.name":
		s.service = value
	}
}

// The pieces of JSON that both forms are rendered with.

func appendKey(b []byte, key string) []byte {
	return append(appendText(append(b, ','), key), ':')
}

// appendText writes a JSON text. What is not UTF-8 becomes U+FFFD.
func appendText(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

// appendDouble writes a number; what JSON has no number for is a text.
func appendDouble(b []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func appendBytes(b, v []byte) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}

func appendHex(b []byte, name string, v []byte) []byte {
	b = append(appendKey(b, name), '"')
	b = hex.AppendEncode(b, v)
	return append(b, '"')
}

func appendInt(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(appendKey(b, name), v, 10)
}

// object closes what was written as `,"a":1,"b":2` and names it.
func object(name string, members []byte) []byte {
	if len(members) == 0 {
		return nil
	}
	b := appendKey(make([]byte, 0, len(members)+len(name)+8), name)
	b = append(b, '{')
	b = append(b, members[1:]...)
	return append(b, '}')
}

// wire is one field of a protobuf message.
type wire struct {
	number protowire.Number
	kind   protowire.Type
	n      uint64 // of varints and fixed numbers
	bytes  []byte
}

// eachField goes through the fields of a message; false where it is none.
func eachField(b []byte, do func(wire) *refusal) (bool, *refusal) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false, nil
		}
		b = b[n:]
		f := wire{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.n, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.n, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.n = uint64(v)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return false, nil
		}
		b = b[n:]
		if no := do(f); no != nil {
			return true, no
		}
	}
	return true, nil
}
