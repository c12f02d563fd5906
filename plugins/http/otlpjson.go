package httpin

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// json takes an ExportLogsServiceRequest in OTLP's JSON: ids are hexadecimal,
// 64-bit numbers may be texts, names are in lowerCamelCase, and what is not known
// is passed over.
func (o *otlp) json(body []byte) *refusal {
	i := skip(body, 0)
	end, err := valueEnd(body, i)
	if err != nil || i >= len(body) || body[i] != '{' || skip(body, end) != len(body) || !gjson.ValidBytes(body) {
		return refuse(http.StatusBadRequest, "the body is no ExportLogsServiceRequest in JSON")
	}
	return o.list(gjson.Parse(text(body)).Get("resourceLogs"), "resourceLogs", o.resourceText)
}

// list goes through an array; one that is absent has nothing in it.
func (o *otlp) list(v gjson.Result, name string, do func(gjson.Result) *refusal) (no *refusal) {
	if !v.Exists() || v.Type == gjson.Null {
		return nil
	}
	if !v.IsArray() {
		return refuse(http.StatusBadRequest, "before record %d: %s is no list", o.seen, name)
	}
	v.ForEach(func(_, v gjson.Result) bool {
		if !v.IsObject() {
			no = refuse(http.StatusBadRequest, "before record %d: %s holds what is no mapping", o.seen, name)
			return false
		}
		no = do(v)
		return no == nil
	})
	return no
}

func (o *otlp) resourceText(v gjson.Result) *refusal {
	o.resource = surroundings{}
	var members []byte
	if no := o.pairs(v.Get("resource.attributes"), &members, &o.resource, 0); no != nil {
		return no
	}
	o.resource.json = object("resource", members)
	if schema := v.Get("schemaUrl").String(); schema != "" {
		o.resource.json = appendText(appendKey(o.resource.json, "resourceSchemaUrl"), schema)
	}
	return o.list(v.Get("scopeLogs"), "scopeLogs", o.scopeText)
}

func (o *otlp) scopeText(v gjson.Result) *refusal {
	o.scope = surroundings{}
	var members, attributes []byte
	for _, name := range []string{"name", "version"} {
		if s := v.Get("scope." + name).String(); s != "" {
			members = appendText(appendKey(members, name), s)
		}
	}
	if no := o.pairs(v.Get("scope.attributes"), &attributes, &o.scope, 0); no != nil {
		return no
	}
	o.scope.json = object("scope", append(members, object("attributes", attributes)...))
	if schema := v.Get("schemaUrl").String(); schema != "" {
		o.scope.json = appendText(appendKey(o.scope.json, "scopeSchemaUrl"), schema)
	}
	return o.list(v.Get("logRecords"), "logRecords", o.recordText)
}

func (o *otlp) recordText(v gjson.Result) *refusal {
	var l logRecord
	var severity, trace, attributes []byte
	var no *refusal
	bad := func(name string) {
		no = refuse(http.StatusBadRequest, "record %d: its %s is not what OTLP has there", o.seen, name)
	}
	count := func(b []byte, name string, v gjson.Result, bits int) []byte {
		n, ok := unsigned(v, bits)
		if !ok {
			bad(name)
		}
		if n == 0 {
			return b
		}
		return appendInt(b, name, int64(n))
	}
	v.ForEach(func(key, v gjson.Result) bool {
		var ok bool
		switch name := key.String(); name {
		case "timeUnixNano":
			if l.time, ok = unsigned(v, 64); !ok {
				bad(name)
			}
		case "observedTimeUnixNano":
			if l.observed, ok = unsigned(v, 64); !ok {
				bad(name)
			}
		case "severityNumber":
			severity = count(severity, name, v, 31)
		case "severityText":
			if s := v.String(); s != "" {
				severity = appendText(appendKey(severity, name), s)
			}
		case "body":
			if v.Type != gjson.Null {
				l.body, l.text, l.isText, no = o.anyText(nil, v, 0)
			}
		case "attributes":
			no = o.pairs(v, &attributes, &l.attributes, 0)
		case "droppedAttributesCount", "flags":
			trace = count(trace, name, v, 32)
		case "traceId", "spanId":
			id, err := hex.DecodeString(v.String())
			if err != nil {
				bad(name)
			} else if len(id) > 0 {
				trace = appendHex(trace, name, id)
			}
		case "eventName":
			if s := v.String(); s != "" {
				trace = appendText(appendKey(trace, name), s)
			}
		}
		return no == nil
	})
	if no != nil {
		return no
	}
	l.fields = append(severity, trace...)
	l.attributes.json = object("attributes", attributes)
	return o.done(&l)
}

// pairs renders a list of KeyValues as the members of an object.
func (o *otlp) pairs(v gjson.Result, b *[]byte, s *surroundings, depth int) *refusal {
	return o.list(v, "a list of attributes", func(kv gjson.Result) *refusal {
		if len(*b) > o.most {
			return o.tooMuch()
		}
		key := kv.Get("key").String()
		out, said, isText, no := o.anyText(appendKey(*b, key), kv.Get("value"), depth)
		if isText && s != nil {
			o.note(s, key, said)
		}
		*b = out
		return no
	})
}

func (o *otlp) anyText(b []byte, v gjson.Result, depth int) (out []byte, said string, isText bool, no *refusal) {
	bad := func() *refusal {
		return refuse(http.StatusBadRequest, "record %d: a value is not what OTLP has there", o.seen)
	}
	if depth > maxDepth/4 {
		return b, "", false, refuse(http.StatusBadRequest, "record %d: values are nested deeper than %d", o.seen, maxDepth/4)
	}
	if v.Exists() && !v.IsObject() && v.Type != gjson.Null {
		return b, "", false, bad()
	}
	start := len(b)
	v.ForEach(func(key, v gjson.Result) bool {
		if v.Type == gjson.Null {
			return true
		}
		b, said, isText = b[:start], "", false // of a oneof the last holds
		switch key.String() {
		case "stringValue":
			said, isText = v.String(), true
			b = appendText(b, said)
		case "boolValue":
			b = strconv.AppendBool(b, v.Bool())
		case "intValue":
			n, err := strconv.ParseInt(strings.Trim(v.Raw, `"`), 10, 64)
			if err != nil {
				no = bad()
			}
			b = strconv.AppendInt(b, n, 10)
		case "doubleValue":
			n, err := strconv.ParseFloat(v.String(), 64)
			if err != nil && !math.IsInf(n, 0) {
				no = bad()
			}
			b = appendDouble(b, n)
		case "bytesValue":
			raw, err := base64.StdEncoding.DecodeString(v.String())
			if err != nil {
				no = bad()
			}
			b = appendBytes(b, raw)
		case "arrayValue":
			no = o.list(v.Get("values"), "arrayValue", func(v gjson.Result) (no *refusal) {
				b, _, _, no = o.anyText(append(b, ','), v, depth+1)
				return no
			})
			b = enclose(b, start, '[', ']')
		case "kvlistValue":
			no = o.pairs(v.Get("values"), &b, nil, depth+1)
			b = enclose(b, start, '{', '}')
		}
		return no == nil
	})
	if len(b) == start {
		b = append(b, "null"...)
	}
	return b, said, isText, no
}

// enclose makes what was written from start on, each with a comma before it, a
// list or an object.
func enclose(b []byte, start int, opens, closes byte) []byte {
	if len(b) == start {
		b = append(b, opens)
	} else {
		b[start] = opens
	}
	return append(b, closes)
}

// unsigned reads a number of so many bits, which may be a text.
func unsigned(v gjson.Result, bits int) (uint64, bool) {
	switch v.Type {
	case gjson.Null:
		return 0, true
	case gjson.Number, gjson.String:
		s := strings.Trim(v.Raw, `"`)
		if s == "" {
			return 0, true
		}
		n, err := strconv.ParseUint(s, 10, bits)
		return n, err == nil
	}
	return 0, false
}
