package config

import (
	"bytes"
	"encoding/json"
	"fmt"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// PipelineSchema is the JSON Schema (draft 2020-12) of pipeline files, for
// editors that complete and check YAML by one. It is made of the contract's
// messages and of what schemawords.go says about their fields.
//
// It is as strict as Parse with all its warnings, and stricter where an author
// is better told early: about keys that a step cannot do without, and texts of
// which only a few are known. What expressions mean it cannot tell.
func PipelineSchema() []byte {
	b := schemaBuilder{defs: map[string]any{}}
	root := b.object((&pb.Config{}).ProtoReflect().Descriptor())
	root["properties"].(map[string]any)[meshKey] = meshSchema()
	return b.finish("epmesh pipeline file", "Pipelines, patterns, tenants and plugins of epmesh: a file below WORK_DIR/pipeline.", root)
}

// RuleSchema is the JSON Schema of rule files, which hold one rule or a list of
// them.
func RuleSchema() []byte {
	b := schemaBuilder{defs: map[string]any{}}
	rule := b.reference((&pb.Rule{}).ProtoReflect().Descriptor())
	return b.finish("epmesh rule file", "Rules of epmesh: a file below WORK_DIR/rules, with one rule or a list of them.", map[string]any{
		"anyOf": []any{rule, map[string]any{"type": "array", "items": rule}},
	})
}

// schemaBuilder makes a schema of messages; those that are referred to are in
// defs, by their name.
type schemaBuilder struct{ defs map[string]any }

func (b *schemaBuilder) finish(title, description string, root map[string]any) []byte {
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"], root["description"] = title, description
	root["$defs"] = b.defs
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic(fmt.Sprintf("config: schema: %v", err)) // it is made of maps, lists and texts
	}
	return text.Bytes()
}

func (b *schemaBuilder) reference(m protoreflect.MessageDescriptor) map[string]any {
	name := string(m.Name())
	if _, made := b.defs[name]; !made {
		b.defs[name] = nil // a message may hold itself
		b.defs[name] = b.object(m)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

// object is the schema of a message as a mapping.
func (b *schemaBuilder) object(m protoreflect.MessageDescriptor) map[string]any {
	properties := map[string]any{}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		properties[f.JSONName()] = b.property(m, f)
	}
	words := messageWords[string(m.Name())]
	if words.required != nil {
		s["required"] = words.required
	}
	if words.onlyOne {
		s["minProperties"], s["maxProperties"] = 1, 1
	}
	return s
}

// property is the schema of a field with what is said about it.
func (b *schemaBuilder) property(m protoreflect.MessageDescriptor, f protoreflect.FieldDescriptor) map[string]any {
	name := string(m.Name()) + "." + f.JSONName()
	words := fieldWords[name]
	s := b.field(f, words)
	if words.schema != nil {
		s = words.schema(b)
	}
	if words.text == "" {
		panic("config: the schema says nothing about " + name) // TestSchemaWords sees it first
	}
	s["description"] = words.text
	if words.otherwise != nil {
		s["default"] = words.otherwise
	}
	if words.deprecated {
		s["deprecated"] = true
	}
	return s
}

// field is the schema of a field's type. A key without a value counts as not
// given, so null is allowed; in lists it is not.
func (b *schemaBuilder) field(f protoreflect.FieldDescriptor, words fieldWord) map[string]any {
	switch {
	case f.IsMap():
		values := any(true)
		if !isValue(f.MapValue().Message()) {
			values = b.single(f.MapValue(), words)
		}
		return map[string]any{"type": []any{"object", "null"}, "additionalProperties": values}
	case f.IsList():
		s := map[string]any{"type": []any{"array", "null"}, "items": b.single(f, words)}
		if words.needed {
			s["type"], s["minItems"] = "array", 1
		}
		return s
	case f.Message() != nil && !isValue(f.Message()) && f.ContainingMessage().Name() != "Step":
		return map[string]any{"anyOf": []any{b.reference(f.Message()), map[string]any{"type": "null"}}}
	case f.Kind() == protoreflect.StringKind && !words.needed && words.oneOf == nil:
		s := b.single(f, words)
		s["type"] = []any{"string", "null"}
		return s
	}
	return b.single(f, words)
}

// single is the schema of one value.
func (b *schemaBuilder) single(f protoreflect.FieldDescriptor, words fieldWord) map[string]any {
	switch f.Kind() {
	case protoreflect.MessageKind:
		if isValue(f.Message()) {
			return map[string]any{}
		}
		return b.reference(f.Message())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		number := map[string]any{"type": "integer", "minimum": 0}
		if words.most > 0 {
			number["maximum"] = words.most
		}
		return map[string]any{"anyOf": []any{number, map[string]any{"type": "string", "pattern": "^[0-9]+$"}}}
	default:
		s := map[string]any{"type": "string"}
		if words.oneOf != nil {
			s["enum"] = words.oneOf
		}
		if words.needed && !f.IsList() {
			s["minLength"] = 1
		}
		return s
	}
}
