package cases

import (
	"maps"
	"slices"
	"strconv"

	"github.com/epmesh/epmesh/config"
)

// lookup finds the value at the parts of a path.
func lookup(v any, parts []string) (any, bool) {
	for _, part := range parts {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[part]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.ParseUint(part, 10, 31)
			if err != nil || i >= uint64(len(at)) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// put sets the value at the parts of a path. What is in the way is replaced.
func put(m map[string]any, parts []string, v any) {
	for _, part := range parts[:len(parts)-1] {
		next, ok := m[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[part] = next
		}
		m = next
	}
	m[parts[len(parts)-1]] = v
}

// leaf is a value that holds no other by name: a scalar, a list, an empty
// mapping.
type leaf struct {
	parts []string
	value any
}

func (l leaf) path() string { return config.JoinPath(l.parts...) }

// leaves are all of a mapping, in the order of their paths.
func leaves(m map[string]any, above ...string) []leaf {
	var out []leaf
	for _, key := range slices.Sorted(maps.Keys(m)) {
		parts := append(slices.Clip(above), key)
		if sub, ok := m[key].(map[string]any); ok && len(sub) > 0 {
			out = append(out, leaves(sub, parts...)...)
			continue
		}
		out = append(out, leaf{parts, m[key]})
	}
	return out
}

// within reports whether one path leads to what another does, or to a part of
// it.
func within(parts, of []string) bool {
	return len(parts) >= len(of) && slices.Equal(parts[:len(of)], of)
}
