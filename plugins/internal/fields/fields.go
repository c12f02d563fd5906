// Package fields reads values of the contract's messages by their dotted JSON
// paths, such as "origin.ip" or "log.reason".
package fields

import (
	"encoding/json"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// Get returns the value at path: a string, a float64, a bool, a []any or a
// map[string]any; nil where there is none. As in protobuf's JSON, a scalar field
// of zero value is not there. A segment of digits indexes a list. A last segment
// "keyword", which search engines add to name the exact form of a text, is left
// out where there is no such key.
func Get(m proto.Message, path string) any {
	if v := message(m.ProtoReflect(), path); v != nil {
		return v
	}
	if base, ok := strings.CutSuffix(path, ".keyword"); ok {
		return message(m.ProtoReflect(), base)
	}
	return nil
}

func message(m protoreflect.Message, path string) any {
	if !m.IsValid() {
		return nil
	}
	if v, ok := m.Interface().(*structpb.Value); ok {
		return value(v, path)
	}
	if path == "" {
		return nil
	}
	name, rest, _ := strings.Cut(path, ".")
	f := m.Descriptor().Fields().ByJSONName(name)
	if f == nil || !m.Has(f) {
		return nil
	}
	v := m.Get(f)
	switch {
	case f.IsMap():
		key, rest, _ := strings.Cut(rest, ".")
		if item := v.Map().Get(protoreflect.ValueOfString(key).MapKey()); item.IsValid() {
			return single(f.MapValue(), item, rest)
		}
		return nil
	case f.IsList():
		list := v.List()
		if rest != "" {
			index, rest, _ := strings.Cut(rest, ".")
			if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < list.Len() {
				return single(f, list.Get(n), rest)
			}
			return nil
		}
		all := make([]any, list.Len())
		for i := range all {
			all[i] = single(f, list.Get(i), "")
		}
		return all
	}
	return single(f, v, rest)
}

func single(f protoreflect.FieldDescriptor, v protoreflect.Value, rest string) any {
	if f.Kind() == protoreflect.MessageKind {
		return message(v.Message(), rest)
	}
	if rest != "" {
		return nil
	}
	switch x := v.Interface().(type) {
	case string, bool, float64:
		return x
	case uint32:
		return float64(x)
	case uint64:
		return float64(x)
	}
	return nil
}

func value(v *structpb.Value, path string) any {
	for path != "" && v != nil {
		name, rest, _ := strings.Cut(path, ".")
		switch k := v.GetKind().(type) {
		case *structpb.Value_StructValue:
			v = k.StructValue.GetFields()[name]
		case *structpb.Value_ListValue:
			n, err := strconv.Atoi(name)
			if err != nil || n < 0 || n >= len(k.ListValue.GetValues()) {
				return nil
			}
			v = k.ListValue.GetValues()[n]
		default:
			return nil
		}
		path = rest
	}
	return v.AsInterface()
}

// Text is a value as text: a number without needless digits, a list or mapping
// as JSON, nothing for nil.
func Text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case bool:
		return strconv.FormatBool(x)
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
