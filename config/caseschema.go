package config

import (
	"fmt"
	"strconv"
	"strings"

	pb "github.com/epmesh/epmesh/proto"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// place is what an event has at a path: a message, a field of one, or, where
// both are nil, whatever the log brought.
type place struct {
	message protoreflect.MessageDescriptor
	field   protoreflect.FieldDescriptor
	item    bool // of the field, which is a list or a mapping
}

var eventPlace = place{message: (&pb.Event{}).ProtoReflect().Descriptor()}

func (p place) free() bool { return p.message == nil && p.field == nil }

// below is what stands under a key; the text says why nothing ever can.
func (p place) below(key string) (place, string) {
	switch {
	case p.free():
		return p, ""
	case p.message != nil:
		fd := p.message.Fields().ByJSONName(key)
		if fd == nil {
			known := names(p.message.Fields())
			if len(known) > 20 && Suggest(key, known) == "" {
				return p, fmt.Sprintf("%s in the contract lists them", p.message.Name())
			}
			return p, didYouMean(key, known)
		}
		if fd.IsList() || fd.IsMap() {
			return place{field: fd}, ""
		}
		return valuePlace(fd, fd), ""
	case p.field.IsMap() && !p.item:
		return valuePlace(p.field.MapValue(), p.field), ""
	case p.field.IsList() && !p.item:
		if _, err := strconv.ParseUint(key, 10, 31); err == nil {
			return valuePlace(p.field, p.field), ""
		}
		return p, "it is a list: write the number of an item, or nothing"
	}
	return p, fmt.Sprintf("%s is a %s", p.field.JSONName(), kindName(p.field.Kind()))
}

func valuePlace(value, of protoreflect.FieldDescriptor) place {
	switch {
	case isValue(value.Message()):
		return place{}
	case value.Message() != nil:
		return place{message: value.Message()}
	}
	if of.IsMap() {
		of = value
	}
	return place{field: of, item: true}
}

func kindName(k protoreflect.Kind) string {
	if k == protoreflect.StringKind {
		return "text"
	}
	return "number"
}

// path checks that an event can have something at a path; a misspelt one would
// be absent for ever without a word.
func (d *caseDecoder) path(p pair, name string) (place, bool) {
	at, ok := d.pathIn(eventPlace, p, name)
	if ok && SplitPath(p.key)[0] == "errors" {
		d.add(RuleBadCase, Error, p.at.Line, p.at.Column, "write errors: as a key of the case", "%s: errors on the event have a key of their own", name)
		return at, false
	}
	return at, ok
}

// pathIn checks that a message can have something at a path.
func (d *caseDecoder) pathIn(root place, p pair, name string) (place, bool) {
	at, parts := root, SplitPath(p.key)
	for i, part := range parts {
		next, hint := at.below(part)
		switch {
		case part == "":
			d.add(RuleBadCase, Error, p.at.Line, p.at.Column, "", "%s: the path %q has an empty part", name, p.key)
			return at, false
		case hint != "":
			where := strings.ToLower(string(root.message.Name())) + "s have no field"
			if i > 0 {
				where = JoinPath(parts[:i]...) + " has no field"
			}
			d.add(RuleBadCase, Error, p.at.Line, p.at.Column, hint, "%s: %s %q", name, where, part)
			return at, false
		}
		at = next
	}
	return at, true
}

const absentHint = "to want that nothing stands there, write the path under absent"

// wanted checks that a value can ever stand at its place in an event, and gives
// it as events have it.
func (d *caseDecoder) wanted(at place, v any, n *yaml.Node, name string) (any, bool) {
	fail := func(hint, format string, args ...any) (any, bool) {
		d.add(RuleBadCase, Error, n.Line, n.Column, hint, "%s: %s", name, fmt.Sprintf(format, args...))
		return nil, false
	}
	if at.free() {
		return v, true
	}
	switch {
	case v == nil:
		return fail(absentHint, "events hold no null here")
	case at.message != nil, at.field.IsMap() && !at.item:
		m, ok := v.(map[string]any)
		if !ok {
			return fail("", "this field is a mapping in events, and %s is wanted", typeName(v))
		}
		if len(m) == 0 && at.field != nil {
			return fail(absentHint, "events do not keep an empty mapping here")
		}
		for key, v := range m {
			next, hint := at.below(key)
			if hint != "" {
				return fail(hint, "there is no field %q", key)
			}
			if m[key], ok = d.wanted(next, v, n, name+"."+key); !ok {
				return nil, false
			}
		}
		return v, true
	case at.field.IsList() && !at.item:
		list, ok := v.([]any)
		if !ok {
			return fail("", "this field is a list in events, and %s is wanted", typeName(v))
		}
		if len(list) == 0 {
			return fail(absentHint, "events do not keep an empty list here")
		}
		next, _ := at.below("0")
		for i, v := range list {
			if list[i], ok = d.wanted(next, v, n, name+"["+strconv.Itoa(i)+"]"); !ok {
				return nil, false
			}
		}
		return v, true
	}
	zero := false
	if at.field.Kind() == protoreflect.StringKind {
		s, ok := v.(string)
		if !ok {
			return fail("put it in quotes", "this field is a text in events, and %s is wanted", typeName(v))
		}
		zero = s == ""
	} else {
		// As protobuf's JSON writes the wide ones.
		if s, ok := v.(string); ok && at.field.Kind() == protoreflect.Uint64Kind {
			if u, err := strconv.ParseUint(s, 10, 64); err == nil {
				v = u
			}
		}
		x, ok := asNumber(v)
		if !ok {
			return fail("leave out the quotes", "this field is a number in events, and %s is wanted", typeName(v))
		}
		zero = x.Sign() == 0
	}
	if zero && !at.field.IsList() {
		return fail(absentHint, "events do not keep an empty text or a zero here")
	}
	return v, true
}

// typeName says what a plain value is.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	}
	return "a number"
}
