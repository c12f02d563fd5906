package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/epmesh/epmesh/node/tree"
)

// nameByte reports whether a byte stays in the names that steps write.
func (o Options) nameByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' && !o.StripUnderscore
}

// clean removes from a name what names may not hold.
func (o Options) clean(name string) string {
	for i := range len(name) {
		if !o.nameByte(name[i]) {
			return string(o.appendClean([]byte(name[:i]), name[i+1:]))
		}
	}
	return name
}

func (o Options) appendClean(b []byte, name string) []byte {
	for i := range len(name) {
		if o.nameByte(name[i]) {
			b = append(b, name[i])
		}
	}
	return b
}

// reserved are the top-level fields that no step writes. "timestamp" is the
// other name that the Event has for "@timestamp".
func reserved(field string) bool {
	return field == "raw" || field == "@timestamp" || field == "timestamp"
}

// target is the path of a field that a step writes, from its configured name.
func (c *compiler) target(name string) (*tree.Path, error) {
	first, _, _ := strings.Cut(name, ".")
	clean := c.options.clean(name)
	cleanFirst, _, _ := strings.Cut(clean, ".")
	if reserved(first) || reserved(cleanFirst) {
		return nil, fmt.Errorf("%q cannot be written", name)
	}
	if clean == "" {
		return nil, fmt.Errorf("%q is no name of a field", name)
	}
	p := tree.ParsePath(clean)
	for _, part := range p.Parts() {
		if part == "" {
			return nil, fmt.Errorf("%q has an empty part", name)
		}
	}
	return p, nil
}

// fields are the paths of fields that a step edits in place; their names are
// taken as they are.
func (c *compiler) fields(names []string) ([]*tree.Path, error) {
	if len(names) == 0 {
		return nil, errors.New("fields is not set")
	}
	var paths []*tree.Path
	for _, name := range names {
		if name == "" {
			continue
		}
		path, err := editable(name)
		if err != nil {
			return nil, err
		}
		if reserved(path.Top()) {
			return nil, fmt.Errorf("%q cannot be written", name)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// editable is the path of a field that a step edits or removes; its name is
// taken as it is.
func editable(name string) (*tree.Path, error) {
	path := tree.ParsePath(name)
	if path.Special() {
		return nil, fmt.Errorf("%q cannot be written: a path with wildcards or queries can only be read", name)
	}
	return path, nil
}

// source is the path of the field that a step reads.
func source(name string) *tree.Path {
	if name == "" {
		name = "raw"
	}
	return tree.ParsePath(name)
}

// setLog puts a value under log by a name that came with the data: cleaned,
// its dots nesting, its empty parts left out. A name with nothing left is
// skipped.
func (d *draft) setLog(o Options, name string, v tree.Node) error {
	name = o.clean(name)
	parts := append(make([]string, 0, 4), "log")
	for part := range strings.SplitSeq(name, ".") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 1 {
		return nil
	}
	// Made first, so that a name of digits does not make log an array.
	if d.Field("log").Kind != tree.Object {
		d.makeLog()
	}
	if err := d.SetParts(parts, v); err != nil {
		return fmt.Errorf("key %.64q: %w", name, err)
	}
	return nil
}

// makeLog makes log an empty object.
func (d *draft) makeLog() {
	empty, _ := d.ParseObject("{}")
	d.SetField("log", empty)
}
