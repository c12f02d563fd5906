package httpin

import (
	"math"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of opentelemetry/proto/logs/v1/logs.proto and common.proto.
const (
	dataResourceLogs = 1

	resourceResource   = 1
	resourceScopeLogs  = 2
	resourceSchema     = 3
	resourceAttributes = 1 // of Resource

	scopeScope      = 1
	scopeRecords    = 2
	scopeSchema     = 3
	scopeName       = 1 // of InstrumentationScope
	scopeVersion    = 2
	scopeAttributes = 3

	recordTime       = 1
	recordSeverity   = 2
	recordText       = 3
	recordBody       = 5
	recordAttributes = 6
	recordDropped    = 7
	recordFlags      = 8
	recordTrace      = 9
	recordSpan       = 10
	recordObserved   = 11
	recordEvent      = 12

	pairKey   = 1
	pairValue = 2

	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5
	anyList   = 6
	anyBytes  = 7
)

// How the fields are coded. One that is coded otherwise is another field.
var (
	recordKinds = [16]protowire.Type{
		recordTime: protowire.Fixed64Type, recordObserved: protowire.Fixed64Type,
		recordSeverity: protowire.VarintType, recordDropped: protowire.VarintType, recordFlags: protowire.Fixed32Type,
		recordText: protowire.BytesType, recordBody: protowire.BytesType, recordAttributes: protowire.BytesType,
		recordTrace: protowire.BytesType, recordSpan: protowire.BytesType, recordEvent: protowire.BytesType,
	}
	anyKinds = [8]protowire.Type{
		anyString: protowire.BytesType, anyBytes: protowire.BytesType, anyArray: protowire.BytesType, anyList: protowire.BytesType,
		anyBool: protowire.VarintType, anyInt: protowire.VarintType, anyDouble: protowire.Fixed64Type,
	}
)

var errWire = refuse(http.StatusBadRequest, "the body is no ExportLogsServiceRequest in protobuf")

// whole turns what eachField says into a refusal.
func whole(ok bool, no *refusal) *refusal {
	if !ok {
		return errWire
	}
	return no
}

// protobuf takes an ExportLogsServiceRequest.
func (o *otlp) protobuf(body []byte) *refusal {
	return whole(eachField(body, func(f wire) *refusal {
		if f.number != dataResourceLogs || f.kind != protowire.BytesType {
			return nil
		}
		return o.resourceLogs(f.bytes)
	}))
}

// resourceLogs goes through twice: what the records have in common may stand
// behind them.
func (o *otlp) resourceLogs(b []byte) *refusal {
	o.resource = surroundings{}
	schema := ""
	no := whole(eachField(b, func(f wire) *refusal {
		switch {
		case f.kind != protowire.BytesType:
		case f.number == resourceResource:
			var members []byte
			if no := whole(eachField(f.bytes, func(f wire) *refusal {
				if f.number != resourceAttributes || f.kind != protowire.BytesType {
					return nil
				}
				var no *refusal
				members, no = o.pair(members, f.bytes, &o.resource, 0)
				return no
			})); no != nil {
				return no
			}
			o.resource.json = object("resource", members)
		case f.number == resourceSchema:
			schema = string(f.bytes)
		}
		return nil
	}))
	if no != nil {
		return no
	}
	if schema != "" {
		o.resource.json = appendText(appendKey(o.resource.json, "resourceSchemaUrl"), schema)
	}
	return whole(eachField(b, func(f wire) *refusal {
		if f.number != resourceScopeLogs || f.kind != protowire.BytesType {
			return nil
		}
		return o.scopeLogs(f.bytes)
	}))
}

func (o *otlp) scopeLogs(b []byte) *refusal {
	o.scope = surroundings{}
	schema := ""
	no := whole(eachField(b, func(f wire) *refusal {
		switch {
		case f.kind != protowire.BytesType:
		case f.number == scopeScope:
			var members, attributes []byte
			if no := whole(eachField(f.bytes, func(f wire) *refusal {
				var no *refusal
				switch {
				case f.kind != protowire.BytesType || len(f.bytes) == 0 && f.number != scopeAttributes:
				case f.number == scopeName:
					members = appendText(appendKey(members, "name"), text(f.bytes))
				case f.number == scopeVersion:
					members = appendText(appendKey(members, "version"), text(f.bytes))
				case f.number == scopeAttributes:
					attributes, no = o.pair(attributes, f.bytes, &o.scope, 0)
				}
				return no
			})); no != nil {
				return no
			}
			o.scope.json = object("scope", append(members, object("attributes", attributes)...))
		case f.number == scopeSchema:
			schema = string(f.bytes)
		}
		return nil
	}))
	if no != nil {
		return no
	}
	if schema != "" {
		o.scope.json = appendText(appendKey(o.scope.json, "scopeSchemaUrl"), schema)
	}
	return whole(eachField(b, func(f wire) *refusal {
		if f.number != scopeRecords || f.kind != protowire.BytesType {
			return nil
		}
		return o.record(f.bytes)
	}))
}

func (o *otlp) record(b []byte) *refusal {
	var l logRecord
	var severity, trace, attributes []byte
	no := whole(eachField(b, func(f wire) *refusal {
		var no *refusal
		if int(f.number) >= len(recordKinds) || f.kind != recordKinds[f.number] {
			return nil // protobuf does not know it either
		}
		switch f.number {
		case recordTime:
			l.time = f.n
		case recordObserved:
			l.observed = f.n
		case recordSeverity:
			if f.n != 0 {
				severity = appendInt(severity, "severityNumber", int64(int32(f.n)))
			}
		case recordText:
			if len(f.bytes) > 0 {
				severity = appendText(appendKey(severity, "severityText"), text(f.bytes))
			}
		case recordBody:
			l.body, l.text, l.isText, no = o.any(nil, f.bytes, 0)
		case recordAttributes:
			attributes, no = o.pair(attributes, f.bytes, &l.attributes, 0)
		case recordDropped:
			if f.n != 0 {
				trace = appendInt(trace, "droppedAttributesCount", int64(uint32(f.n)))
			}
		case recordFlags:
			if f.n != 0 {
				trace = appendInt(trace, "flags", int64(uint32(f.n)))
			}
		case recordTrace:
			if len(f.bytes) > 0 {
				trace = appendHex(trace, "traceId", f.bytes)
			}
		case recordSpan:
			if len(f.bytes) > 0 {
				trace = appendHex(trace, "spanId", f.bytes)
			}
		case recordEvent:
			if len(f.bytes) > 0 {
				trace = appendText(appendKey(trace, "eventName"), text(f.bytes))
			}
		}
		return no
	}))
	if no != nil {
		return no
	}
	l.fields = append(severity, trace...)
	l.attributes.json = object("attributes", attributes)
	return o.done(&l)
}

// pair renders a KeyValue as a member of an object.
func (o *otlp) pair(b, kv []byte, s *surroundings, depth int) ([]byte, *refusal) {
	key, value := "", []byte(nil)
	if no := whole(eachField(kv, func(f wire) *refusal {
		switch {
		case f.kind != protowire.BytesType:
		case f.number == pairKey:
			key = text(f.bytes)
		case f.number == pairValue:
			value = f.bytes
		}
		return nil
	})); no != nil {
		return b, no
	}
	if len(b) > o.most {
		return b, o.tooMuch()
	}
	b, said, isText, no := o.any(appendKey(b, key), value, depth)
	if isText && s != nil {
		o.note(s, key, said)
	}
	return b, no
}

// any renders an AnyValue; said is its text, where it is one. One that holds
// nothing is null.
func (o *otlp) any(b, v []byte, depth int) (out []byte, said string, isText bool, no *refusal) {
	if depth > maxDepth/4 {
		return b, "", false, refuse(http.StatusBadRequest, "record %d: values are nested deeper than %d", o.seen, maxDepth/4)
	}
	// Of a oneof the last holds.
	last := wire{}
	if no := whole(eachField(v, func(f wire) *refusal {
		if f.number >= anyString && int(f.number) < len(anyKinds) && f.kind == anyKinds[f.number] {
			last = f
		}
		return nil
	})); no != nil {
		return b, "", false, no
	}
	switch last.number {
	case anyString:
		said = text(last.bytes)
		return appendText(b, said), said, true, nil
	case anyBool:
		return strconv.AppendBool(b, last.n != 0), "", false, nil
	case anyInt:
		return strconv.AppendInt(b, int64(last.n), 10), "", false, nil
	case anyDouble:
		return appendDouble(b, math.Float64frombits(last.n)), "", false, nil
	case anyBytes:
		return appendBytes(b, last.bytes), "", false, nil
	case anyArray, anyList:
		opens, closes := byte('['), byte(']')
		if last.number == anyList {
			opens, closes = '{', '}'
		}
		start := len(b)
		no := whole(eachField(last.bytes, func(f wire) (no *refusal) {
			if f.number != 1 || f.kind != protowire.BytesType {
				return nil
			}
			if last.number == anyList {
				b, no = o.pair(b, f.bytes, nil, depth+1)
				return no
			}
			b, _, _, no = o.any(append(b, ','), f.bytes, depth+1)
			return no
		}))
		return enclose(b, start, opens, closes), "", false, no
	}
	return append(b, "null"...), "", false, nil
}
