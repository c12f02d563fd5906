package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Fingerprint tells whether two nodes mean the same by a pipeline's and a
// step's index: it is equal exactly if pipelines, patterns and tenants are. It
// does not depend on where the files lie, how they are cut, or on the version
// of a library. It is computed on each call.
func (s *Set) Fingerprint() string {
	h := hasher{sha256.New()}
	h.number(uint64(len(s.Pipelines)))
	for _, p := range s.Pipelines {
		h.number(uint64(len(p.DataTypes)))
		for _, t := range p.DataTypes {
			h.text(t)
		}
		h.number(uint64(len(p.Steps)))
		for _, step := range p.Steps {
			h.message(step.Proto.ProtoReflect())
		}
	}
	h.number(uint64(len(s.Patterns)))
	for _, name := range slices.Sorted(maps.Keys(s.Patterns)) {
		h.text(name)
		h.text(s.Patterns[name])
	}
	h.number(uint64(len(s.Tenants)))
	for _, t := range s.Tenants {
		h.message(t.ProtoReflect())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// hasher writes values so that different ones never give the same bytes:
// everything of variable length is preceded by its length. Protobuf's own
// encoding does not promise equal bytes over versions.
type hasher struct{ hash.Hash }

func (h hasher) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	h.Write(b[:])
}

func (h hasher) text(s string) {
	h.number(uint64(len(s)))
	h.Write([]byte(s))
}

func (h hasher) message(m protoreflect.Message) {
	var set []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		set = append(set, fd)
		return true
	})
	slices.SortFunc(set, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(a.Number(), b.Number()) })
	h.number(uint64(len(set)))
	for _, fd := range set {
		h.number(uint64(fd.Number()))
		v := m.Get(fd)
		switch {
		case fd.IsList():
			h.number(uint64(v.List().Len()))
			for i := range v.List().Len() {
				h.value(v.List().Get(i))
			}
		case fd.IsMap():
			keys := make([]protoreflect.MapKey, 0, v.Map().Len())
			v.Map().Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
				keys = append(keys, k)
				return true
			})
			slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return cmp.Compare(a.String(), b.String()) })
			h.number(uint64(len(keys)))
			for _, k := range keys {
				h.text(k.String())
				h.value(v.Map().Get(k))
			}
		default:
			h.value(v)
		}
	}
}

// value writes a single value; its type is known from the field.
func (h hasher) value(v protoreflect.Value) {
	switch x := v.Interface().(type) {
	case protoreflect.Message:
		h.message(x)
	case float64:
		h.number(math.Float64bits(x))
	case float32:
		h.number(uint64(math.Float32bits(x)))
	default:
		h.text(v.String())
	}
}
