package config

import (
	"slices"
	"strconv"
	"strings"

	pb "github.com/epmesh/epmesh/proto"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// decoder reads the messages of the contract from YAML as protobuf's JSON
// decoder reads them from JSON, but notes every mistake with its place instead
// of ending at the first.
type decoder struct {
	document
	// at is where each pipeline, step and tenant of the result stands.
	at map[proto.Message]Position
	// place is where the outer values below patterns and plugins stand, by path.
	place map[string]Position
	// source and nodes are set by those who look into what was read, who also want
	// what can be read of a file with errors.
	source *sourceText
	nodes  map[proto.Message]*yaml.Node
	root   *yaml.Node
	// mesh is the section of the file that the contract does not have.
	mesh Mesh
}

func newDecoder(file string) *decoder {
	d := &decoder{at: make(map[proto.Message]Position), place: make(map[string]Position)}
	d.file, d.lax = file, Warning
	return d
}

// keep makes the decoder remember where every value stands.
func (d *decoder) keep(data []byte) {
	d.source, d.nodes = newSourceText(d.file, data), make(map[proto.Message]*yaml.Node)
}

// placeOf is where a message that was read stands, if that was kept.
func (d *decoder) placeOf(m proto.Message) *Place {
	if n := d.nodes[m]; n != nil {
		p := d.source.place(n)
		return &p
	}
	return nil
}

func (d *decoder) config(data []byte) *pb.Config {
	cfg := &pb.Config{}
	root := d.parse(data)
	if root == nil {
		if !d.failed {
			d.add(RuleEmptyFile, Warning, 1, 1, "", "the file is empty")
		}
		return cfg
	}
	d.root = behind(root)
	d.message(cfg.ProtoReflect(), d.root, "", 0)
	return cfg
}

// message fills m. Name is the path of the value, for messages.
func (d *decoder) message(m protoreflect.Message, n *yaml.Node, name string, depth int) {
	if !d.visit(n, depth) {
		return
	}
	fields := m.Descriptor().Fields()
	_, outermost := m.Interface().(*pb.Config)
	if n.Kind != yaml.MappingNode {
		hint := "known keys: " + strings.Join(names(fields), ", ")
		if outermost {
			hint = "a pipeline file begins with a key such as pipeline, patterns or plugins"
		}
		d.wrong(n, name, "a mapping", hint)
		return
	}
	switch m.Interface().(type) {
	case *pb.Pipeline, *pb.Step, *pb.Tenant:
		d.at[m.Interface()] = Position{File: d.file, Line: n.Line, Column: n.Column}
		if d.nodes != nil {
			d.nodes[m.Interface()] = n
		}
	}
	var unknown []pair
	for _, p := range d.pairs(n, depth) {
		if outermost && p.key == meshKey {
			d.readMesh(p.value, depth+1)
			continue
		}
		fd := fields.ByJSONName(p.key)
		if fd == nil {
			fd = fields.ByTextName(p.key)
		}
		if fd == nil {
			unknown = append(unknown, p)
			continue
		}
		path := strings.TrimPrefix(name+"."+p.key, ".")
		if p.value.ShortTag() == "!!null" && !isValue(fd.Message()) {
			continue // as JSON's null: not given
		}
		switch {
		case fd.IsList():
			d.list(m, fd, p.value, path, depth+1)
		case fd.IsMap():
			d.mapping(m, fd, p.value, path, depth+1)
		case isValue(fd.Message()):
			if v := d.value(p.value, path, depth+1); v != nil {
				m.Set(fd, protoreflect.ValueOfMessage(v.ProtoReflect()))
			}
		case fd.Message() != nil:
			d.message(m.Mutable(fd).Message(), p.value, path, depth+1)
		default:
			if v, ok := d.scalar(m, fd, p.value, path, depth+1); ok {
				m.Set(fd, v)
			}
		}
	}
	if _, is := m.Interface().(*pb.Step); is {
		d.step(m, n, unknown, name)
		return
	}
	known := names(fields)
	if outermost {
		known = append(known, meshKey)
	}
	for _, p := range unknown {
		d.unknown(p, name, didYouMean(p.key, known))
	}
}

func (d *decoder) list(m protoreflect.Message, fd protoreflect.FieldDescriptor, n *yaml.Node, name string, depth int) {
	if !d.visit(n, depth) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, name, "a list", `begin each item with "- "`)
		return
	}
	list := m.Mutable(fd).List()
	for i, item := range n.Content {
		item, path := behind(item), name+"["+strconv.Itoa(i)+"]"
		if fd.Message() != nil {
			v := list.NewElement()
			d.message(v.Message(), item, path, depth+1)
			list.Append(v)
		} else if v, ok := d.scalar(m, fd, item, path, depth+1); ok {
			list.Append(v)
		}
	}
}

// mapping fills one of the contract's maps; all of them have text keys, and
// texts or free values.
func (d *decoder) mapping(m protoreflect.Message, fd protoreflect.FieldDescriptor, n *yaml.Node, name string, depth int) {
	if !d.visit(n, depth) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, name, "a mapping", "")
		return
	}
	values := m.Mutable(fd).Map()
	for _, p := range d.pairs(n, depth) {
		path := name + "." + p.key
		d.freeKey(p)
		d.place[path] = Position{File: d.file, Line: p.at.Line, Column: p.at.Column}
		key := protoreflect.ValueOfString(p.key).MapKey()
		if isValue(fd.MapValue().Message()) {
			if v := d.value(p.value, path, depth+1); v != nil {
				values.Set(key, protoreflect.ValueOfMessage(v.ProtoReflect()))
			}
		} else if v, ok := d.scalar(m, fd.MapValue(), p.value, path, depth+1); ok {
			values.Set(key, v)
		}
	}
}

// freeKey warns of a key whose meaning depends on the version of YAML.
func (d *decoder) freeKey(p pair) {
	if b, is := oldBool(p.at); is {
		d.add(RuleYAMLVersion, Warning, p.at.Line, p.at.Column, "put it in quotes", "the reference engine reads the key %s as %t; here it is the text", p.key, b)
	}
}

// scalar reads a text or number for a field of m, or an item of it.
func (d *decoder) scalar(m protoreflect.Message, fd protoreflect.FieldDescriptor, n *yaml.Node, name string, depth int) (protoreflect.Value, bool) {
	var none protoreflect.Value
	if !d.visit(n, depth) {
		return none, false
	}
	if fd.Kind() == protoreflect.StringKind {
		switch tag := n.ShortTag(); {
		case n.Kind != yaml.ScalarNode:
			d.wrong(n, name, "a text", "")
		case tag == "!!int" || tag == "!!float" || tag == "!!bool":
			d.wrong(n, name, "a text", "put it in quotes")
		case tag == "!!null":
			d.wrong(n, name, "a text", `write "" for an empty one`)
		default:
			if _, is := oldBool(n); is {
				d.add(RuleYAMLVersion, Warning, n.Line, n.Column, "put it in quotes", "%s: the reference engine reads %s as a boolean and drops the file; here it is the text", name, n.Value)
			}
			return protoreflect.ValueOfString(d.text(n)), true
		}
		return none, false
	}
	// What is a number to protobuf's JSON decoder is decided by it.
	token, ok := numberToken(n)
	if ok && fd.IsList() {
		token = "[" + token + "]"
	}
	into := m.New()
	if !ok || protojson.Unmarshal([]byte(`{"`+fd.JSONName()+`":`+token+"}"), into.Interface()) != nil {
		d.wrong(n, name, numberRange(fd.Kind()), "")
		return none, false
	}
	if v := into.Get(fd); !fd.IsList() {
		return v, true
	} else {
		return v.List().Get(0), true
	}
}

// step checks that a step says one thing to do.
func (d *decoder) step(m protoreflect.Message, n *yaml.Node, unknown []pair, name string) {
	var kinds []string
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		kinds = append(kinds, fd.JSONName())
		return true
	})
	slices.Sort(kinds)
	known := names(m.Descriptor().Fields())
	switch {
	case len(kinds) > 1:
		d.add(RuleStepKind, Error, n.Line, n.Column, `begin each with "- "`, "%s: a step is of one kind, not of %d (%s)", name, len(kinds), strings.Join(kinds, ", "))
	case len(kinds) == 1:
		for _, p := range unknown {
			d.unknown(p, name, "if it belongs to the "+kinds[0]+", indent it so that it stands under that")
		}
	case len(unknown) > 0:
		for _, p := range unknown {
			hint := didYouMean(p.key, known)
			if p.key == "expand" {
				hint = "the contract has a message of that name but no step; the reference engine passes over it"
			}
			d.add(RuleStepKind, Error, p.at.Line, p.at.Column, hint, "%s: unknown kind of step %q", name, p.key)
		}
	default:
		d.add(RuleStepKind, Error, n.Line, n.Column, "a step is written as its kind and settings, such as json: {source: raw}; kinds: "+strings.Join(known, ", "), "%s: the step says nothing to do", name)
	}
}

// unknown reports a key that no field has.
func (d *decoder) unknown(p pair, name, hint string) {
	d.add(RuleUnknownKey, d.lax, p.at.Line, p.at.Column, hint, "%sunknown key %q is ignored", prefix(name), p.key)
}

func (d *decoder) wrong(n *yaml.Node, name, want, hint string) {
	d.add(RuleWrongType, Error, n.Line, n.Column, hint, "%sexpected %s, found %s", prefix(name), want, found(n))
}

func prefix(name string) string {
	if name == "" {
		return ""
	}
	return name + ": "
}

func names(fields protoreflect.FieldDescriptors) []string {
	out := make([]string, fields.Len())
	for i := range out {
		out[i] = fields.Get(i).JSONName()
	}
	return out
}

func isValue(md protoreflect.MessageDescriptor) bool {
	return md != nil && md.FullName() == "google.protobuf.Value"
}
