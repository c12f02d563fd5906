package lint

import (
	"maps"
	"slices"
	"strconv"

	"github.com/epmesh/epmesh/config"
)

// value is what is known of what a step writes.
type value struct {
	kind   valueKind
	text   string // of a constant
	number bool   // a text that is a number for sure
}

type valueKind int

const (
	unknownValue valueKind = iota
	constantValue
	textValue
	numberValue
	boolValue
	listValue
)

func castValue(to string) value {
	switch to {
	case "int", "float":
		return value{kind: numberValue}
	case "string":
		return value{kind: textValue}
	case "bool":
		return value{kind: boolValue}
	case "[]string":
		return value{kind: listValue}
	}
	return value{}
}

// written is a value that may stand in a field.
type written struct {
	value
	at config.Position
}

// maxValues bounds what is remembered of one field; beyond that it is unknown.
const maxValues = 64

// assign notes what the step writes to fields of the common schema.
func (f *flow) assign(s *step) {
	d := f.draft
	switch {
	case s.Kind == "rename" && len(s.writes) > 0:
		to := s.writes[0]
		var moved []written
		known := true
		for _, r := range s.reads {
			from, ok := d.values[r.path]
			known = known && ok
			moved = append(moved, from...)
			if s.unconditional(r.path) {
				delete(d.values, r.path)
			}
		}
		// Another that may be there has a value of which nothing is known.
		if !known {
			delete(d.values, to.path)
			return
		}
		d.put(to.path, moved, false)
	case s.Kind == "delete":
		for _, r := range s.removes {
			if s.unconditional(r.path) {
				delete(d.values, r.path)
			}
		}
	case s.inPlace():
		for _, w := range s.writes {
			// A trim or reformat leaves what is there a text; it may leave a number.
			if s.Kind == "cast" && s.unconditional(w.path) {
				d.put(w.path, []written{{w.value, w.at}}, true)
			} else if s.Kind == "cast" || len(d.values[w.path]) > 0 {
				d.forget(w.path)
			}
		}
	default:
		for _, w := range s.writes {
			d.put(w.path, []written{{w.value, w.at}}, s.Kind == "add" && s.unconditional(""))
		}
	}
}

func (d *draft) put(path string, values []written, replaces bool) {
	if replaces {
		d.values[path] = values
		return
	}
	all := slices.Concat(d.values[path], values)
	if len(all) > maxValues {
		d.forget(path)
		return
	}
	d.values[path] = all
}

// forget makes everything possible in a field.
func (d *draft) forget(path string) { d.values[path] = []written{{}} }

// types checks what stands in the fields at the end of a way.
func (f *flow) types() {
	for _, path := range slices.Sorted(maps.Keys(f.draft.values)) {
		is, _ := schema(eventType, path)
		if path == "log" {
			is = objectShape
		}
		for _, w := range f.draft.values[path] {
			f.line = f.lineOf(w.at)
			f.fits(path, is, w)
		}
	}
}

// lineOf finds the pipeline that a position lies in.
func (f *flow) lineOf(at config.Position) int {
	found := f.line
	for i, of := range f.lines {
		if of.Position.File == at.File && of.Position.Line <= at.Line {
			found = i
		}
	}
	return found
}

const lost = "the event cannot be made and becomes a dead letter"

func (f *flow) fits(path string, is shape, w written) {
	switch w.kind {
	case constantValue:
		_, err := strconv.ParseFloat(w.text, 64)
		if is == numberShape && err != nil {
			f.find(wrongFieldType, w.at, "", "%s holds a number, and %q is none: %s", path, w.text, lost)
		}
		if is == objectShape || is == listShape {
			f.find(wrongFieldType, w.at, "", "%s holds no single value: %s", path, lost)
		}
	case textValue:
		if is == numberShape && !w.number {
			f.find(uncheckedNumber, w.at, "cast it to int or float, or let the pattern match digits only", "%s holds a number, and this text may be none: then %s", path, lost)
		}
		if is == objectShape || is == listShape {
			f.find(wrongFieldType, w.at, "", "%s holds no single value: %s", path, lost)
		}
	case numberValue, boolValue:
		if is == textShape || is == objectShape || is == listShape || is == numberShape && w.kind == boolValue {
			f.find(wrongFieldType, w.at, "cast it to string, or write it to a field below log", "%s is cast to another type than it has in the common schema: %s", path, lost)
		}
	case listValue:
		if is == textShape || is == numberShape || is == objectShape {
			f.find(wrongFieldType, w.at, "cast it to string, or write it to a field below log", "%s is cast to a list, and holds a single value in the common schema: %s", path, lost)
		}
	}
}
