package config

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// plain reads a value as nil, bool, int64, uint64, float64, string, []any or
// map[string]any. It returns false after a mistake.
func (d *caseDecoder) plain(n *yaml.Node, name string, depth int) (any, bool) {
	if n = behind(n); !d.visit(n, depth) {
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		for _, p := range d.pairs(n, depth) {
			if v, ok := d.plain(p.value, below(name, "."+p.key, depth), depth+1); ok {
				out[p.key] = v
			}
		}
		return out, true
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			if v, ok := d.plain(item, below(name, "["+strconv.Itoa(i)+"]", depth), depth+1); ok {
				out = append(out, v)
			}
		}
		return out, true
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, true
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return b, true
		}
	case "!!int":
		var i int64
		var u uint64
		if n.Decode(&i) == nil {
			return i, true
		}
		if n.Decode(&u) == nil {
			return u, true
		}
		d.wrong(n, name, "a number of at most 64 bits", "put it in quotes if it is a text")
		return nil, false
	case "!!float":
		var f float64
		if n.Decode(&f) == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f, true
		}
		d.wrong(n, name, "a finite number", "put it in quotes if it is a text")
		return nil, false
	default:
		return d.words(n, name)
	}
	d.wrong(n, name, "a value", "")
	return nil, false
}

// words is a free scalar's text, which must be one for every reader of YAML.
func (d *caseDecoder) words(n *yaml.Node, name string) (any, bool) {
	if b, is := oldBool(n); is {
		d.add(RuleBadCase, Error, n.Line, n.Column, "write "+strconv.FormatBool(b)+", or put it in quotes for the text",
			"%s: %s is a text to some readers of YAML and %t to others", name, n.Value, b)
		return nil, false
	}
	return d.characters(n)
}

// characters are what a scalar says; binary data that is no text is made one.
func (d *caseDecoder) characters(n *yaml.Node) (string, bool) {
	if n.ShortTag() != "!!binary" {
		return n.Value, true
	}
	var s string
	if err := n.Decode(&s); err != nil {
		d.add(RuleBadCase, Error, n.Line, n.Column, "", "this is not base64")
		return "", false
	}
	return strings.ToValidUTF8(s, "\ufffd"), true
}

// SameValue reports whether two values of cases or events are the same: numbers
// by their value, whatever their Go types; everything else by type and value.
func SameValue(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, v := range a {
			if w, ok := b[key]; !ok || !SameValue(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !SameValue(a[i], b[i]) {
				return false
			}
		}
		return true
	}
	if x, ok := asNumber(a); ok {
		y, ok := asNumber(b)
		return ok && x.Cmp(y) == 0
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

func asNumber(v any) (*big.Float, bool) {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v), true
	case uint64:
		return new(big.Float).SetUint64(v), true
	case float64:
		if math.IsNaN(v) {
			return nil, false
		}
		return big.NewFloat(v), true
	}
	return nil, false
}

// SplitPath gives the parts of a dotted path. A backslash takes the next
// character as it is.
func SplitPath(path string) []string {
	if !strings.Contains(path, `\`) {
		return strings.Split(path, ".")
	}
	var parts []string
	var part strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			part.WriteByte(path[i])
		case c == '.':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	return append(parts, part.String())
}

// JoinPath makes a path that SplitPath takes apart again.
func JoinPath(parts ...string) string {
	out := make([]string, len(parts))
	for i, part := range parts {
		out[i] = pathEscaper.Replace(part)
	}
	return strings.Join(out, ".")
}

var pathEscaper = strings.NewReplacer(`\`, `\\`, `.`, `\.`)
