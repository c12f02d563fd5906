package config

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// value reads a free value, as under params and plugins. It returns nil after
// a mistake.
func (d *decoder) value(n *yaml.Node, name string, depth int) *structpb.Value {
	if !d.visit(n, depth) {
		return nil
	}
	if _, key := d.place[name]; !key && depth <= outer {
		d.place[name] = Position{File: d.file, Line: n.Line, Column: n.Column}
	}
	switch n.Kind {
	case yaml.MappingNode:
		fields := make(map[string]*structpb.Value, len(n.Content)/2)
		for _, p := range d.pairs(n, depth) {
			d.freeKey(p)
			if v := d.value(p.value, below(name, "."+p.key, depth), depth+1); v != nil {
				fields[p.key] = v
			}
		}
		return structpb.NewStructValue(&structpb.Struct{Fields: fields})
	case yaml.SequenceNode:
		items := make([]*structpb.Value, 0, len(n.Content))
		for i, item := range n.Content {
			if v := d.value(behind(item), below(name, "["+strconv.Itoa(i)+"]", depth), depth+1); v != nil {
				items = append(items, v)
			}
		}
		return structpb.NewListValue(&structpb.ListValue{Values: items})
	}
	switch n.ShortTag() {
	case "!!null":
		return structpb.NewNullValue()
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return structpb.NewBoolValue(b)
		}
		d.wrong(n, name, "true or false", "")
		return nil
	case "!!int", "!!float":
		var f float64
		if n.Decode(&f) != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			d.wrong(n, name, "a finite number", "")
			return nil
		}
		return structpb.NewNumberValue(f)
	}
	if b, is := oldBool(n); is {
		d.add(RuleYAMLVersion, Warning, n.Line, n.Column, fmt.Sprintf("write %t, or put it in quotes for the text", b), "%s: %s is read as %t, as the reference engine reads it", name, n.Value, b)
		return structpb.NewBoolValue(b)
	}
	return structpb.NewStringValue(d.text(n))
}

// outer is how deep plugins.<name>.<key>[<item>] lies in a file.
const outer = 4

// below extends a path, unless it is too long to be of help.
func below(name, part string, depth int) string {
	if depth >= outer && len(name) > 200 {
		return name
	}
	return name + part
}

// text is a scalar's text; binary data that is no text is made one.
func (d *decoder) text(n *yaml.Node) string {
	if n.ShortTag() != "!!binary" {
		return n.Value
	}
	var s string
	if err := n.Decode(&s); err != nil {
		d.add(RuleWrongType, Error, n.Line, n.Column, "", "this is not base64")
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// oldBool knows the booleans of YAML 1.1 that are texts in YAML 1.2. The
// reference engine reads YAML 1.1.
func oldBool(n *yaml.Node) (value, is bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Style != 0 {
		return false, false
	}
	switch n.Value {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON":
		return true, true
	case "n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return false, true
	}
	return false, false
}

// numberToken is a scalar as JSON, if it can be a number.
func numberToken(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		return "", false
	}
	switch n.ShortTag() {
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return strconv.FormatInt(i, 10), true
		}
		var u uint64
		err := n.Decode(&u)
		return strconv.FormatUint(u, 10), err == nil
	case "!!float":
		var f float64
		if n.Decode(&f) != nil {
			return "", false
		}
		b, err := json.Marshal(f)
		return string(b), err == nil
	case "!!str":
		b, err := json.Marshal(n.Value)
		return string(b), err == nil
	}
	return "", false
}

func numberRange(k protoreflect.Kind) string {
	switch k {
	case protoreflect.Uint32Kind:
		return fmt.Sprintf("a whole number from 0 to %d", uint32(math.MaxUint32))
	case protoreflect.Uint64Kind:
		return "a whole number from 0 up"
	}
	return "a " + k.String()
}
