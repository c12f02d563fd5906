package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of one YAML file. They are far above what people write, and keep a
// file that was made to hurt (or is another kind of file) from eating the node.
const (
	maxFileSize = 16 << 20
	maxSigns    = 1 << 20 // of structure, an upper bound of values and lines before parsing
	maxNodes    = 1 << 19 // values in a file, those behind aliases counted each time
	maxDepth    = 100     // of nesting, the limit against aliases that hold themselves
)

// document is one YAML file while it is read.
type document struct {
	findings
	// lax is how mistakes are taken that the reference engine passes over in
	// silence.
	lax   Severity
	nodes int
	full  bool // maxNodes was reported
}

// parse reads the first document of a file. It returns nil if there is none,
// or none that can be read.
func (d *document) parse(data []byte) (root *yaml.Node) {
	if !d.readable(data) {
		return nil
	}
	// A panic of the parser on hostile input must cost this file, not the node.
	defer func() {
		if p := recover(); p != nil {
			d.add(RuleSyntax, Error, 1, 1, "", "this file makes the YAML parser fail: %v", p)
			root = nil
		}
	}()

	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		d.syntax(data, err)
		return nil
	}
	var next yaml.Node
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) && (err != nil || next.Content[0].ShortTag() != "!!null") {
		d.add(RuleIgnoredDocument, d.lax, max(1, next.Line), max(1, next.Column), "split the file in two", `only the first document of a file is read; what follows "---" is not`)
	}
	if root = doc.Content[0]; root.ShortTag() == "!!null" {
		return nil
	}
	return root
}

// readable checks what can be told without parsing.
func (d *document) readable(data []byte) bool {
	if len(data) > maxFileSize {
		d.add(RuleTooLarge, Error, 0, 0, "split it", "the file is larger than %s", Size(maxFileSize))
		return false
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		d.add(RuleSyntax, Error, 1, 1, "save the file as UTF-8", "the text is UTF-16")
		return false
	}
	// Each value needs one of these signs; parsing costs some 200 bytes a value.
	signs := 0
	for _, c := range data {
		switch c {
		case ',', ':', '-', '?', '[', '{', '\n':
			signs++
		}
	}
	if signs > maxSigns {
		d.add(RuleTooLarge, Error, 0, 0, "split it", "the file holds more than %d lines and signs of structure", maxSigns)
		return false
	}
	line, column := 1, 1
	for rest := bytes.TrimPrefix(data, []byte("\ufeff")); len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			d.add(RuleSyntax, Error, line, column, "save the file as UTF-8", "the text is not UTF-8")
			return false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7f && r < 0xa0 && r != 0x85, r == 0xfffe, r == 0xffff:
			d.add(RuleSyntax, Error, line, column, fmt.Sprintf("remove it, or write it as an escape in double quotes: \"\\x%02x\"", r), "control characters are not allowed")
			return false
		case r == '\n':
			line, column = line+1, 0
		}
		rest, column = rest[n:], column+1
	}
	return true
}

// visit counts a value against the bounds; where it says no, the value is left
// out.
func (d *document) visit(n *yaml.Node, depth int) bool {
	d.nodes++
	switch {
	case d.nodes > maxNodes:
		if !d.full {
			d.full = true
			d.add(RuleTooLarge, Error, n.Line, n.Column, "use fewer aliases, or split the file", "the file holds more than %d values, those behind aliases counted each time", maxNodes)
		}
		return false
	case depth > maxDepth:
		d.add(RuleTooLarge, Error, n.Line, n.Column, "an alias must not lie within its own anchor", "values are nested more than %d deep", maxDepth)
		d.nodes = maxNodes // one such report is enough
		d.full = true
		return false
	}
	return true
}

// behind follows aliases.
func behind(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// pair is one key of a mapping with its value, aliases followed.
type pair struct {
	key   string
	at    *yaml.Node
	value *yaml.Node
}

// pairs lists a mapping's keys in the order of the file. Of a key given twice
// the last counts, as for the reference engine; merged keys ("<<") yield to
// the mapping's own.
func (d *document) pairs(n *yaml.Node, depth int) []pair {
	if d.nodes += len(n.Content) / 2; d.nodes > maxNodes {
		d.visit(n, depth) // says so
		return nil
	}
	var out []pair
	var merged []*yaml.Node
	index := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := behind(n.Content[i]), behind(n.Content[i+1])
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null" {
			d.add(RuleWrongType, Error, key.Line, key.Column, "", "a key must be a text, not %s", found(key))
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		p := pair{key: key.Value, at: key, value: value}
		if j, twice := index[p.key]; twice {
			d.add(RuleDuplicateKey, d.lax, key.Line, key.Column, "remove one of them", "key %q is given twice, first in line %d; only the last counts", p.key, out[j].at.Line)
			out[j] = p
			continue
		}
		index[p.key] = len(out)
		out = append(out, p)
	}
	for _, m := range merged {
		for _, p := range d.merge(m, depth+1) {
			if _, own := index[p.key]; !own {
				index[p.key] = len(out)
				out = append(out, p)
			}
		}
	}
	return out
}

// merge lists what a merge key brings in: a mapping, or of a list of mappings
// the first that has the key.
func (d *document) merge(n *yaml.Node, depth int) []pair {
	if !d.visit(n, depth) {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.pairs(n, depth)
	case yaml.SequenceNode:
		var out []pair
		have := make(map[string]bool)
		for _, item := range n.Content {
			item = behind(item)
			if item.Kind != yaml.MappingNode {
				d.add(RuleWrongType, Error, item.Line, item.Column, "", "<< takes mappings, not %s", found(item))
				continue
			}
			for _, p := range d.merge(item, depth+1) {
				if !have[p.key] {
					have[p.key] = true
					out = append(out, p)
				}
			}
		}
		return out
	}
	d.add(RuleWrongType, Error, n.Line, n.Column, "", "<< takes a mapping, not %s", found(n))
	return nil
}

// found says what a value is, without saying the value.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "a text"
}
