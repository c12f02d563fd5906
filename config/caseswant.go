package config

import (
	"maps"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// wantDecoder reads what one case wants.
type wantDecoder struct {
	*caseDecoder
	want *Want
}

// entries are the pairs of a mapping of the case, noted with their places.
func (w wantDecoder) entries(p pair) []pair {
	w.want.At[p.key] = w.position(p.at)
	if !w.visit(p.value, 3) {
		return nil
	}
	if p.value.Kind != yaml.MappingNode {
		w.wrong(p.value, p.key, "a mapping", "write path: value")
		return nil
	}
	pairs := w.pairs(p.value, 3)
	for _, field := range pairs {
		w.want.At[p.key+"."+field.key] = w.position(field.at)
	}
	return pairs
}

func (w wantDecoder) fields(p pair) {
	w.want.Fields = make(map[string]any)
	for _, p := range w.entries(p) {
		at, ok := w.path(p, "fields")
		v, read := w.plain(p.value, "fields."+p.key, 4)
		if !ok || !read {
			continue
		}
		if v, ok := w.wanted(at, v, p.value, "fields."+p.key); ok {
			w.want.Fields[p.key] = v
		}
	}
}

func (w wantDecoder) matches(p pair) {
	w.want.Matches = make(map[string]Text)
	for _, p := range w.entries(p) {
		w.path(p, "matches")
		if t, ok := w.pattern(p.value, "matches."+p.key, 4); ok {
			w.want.Matches[p.key] = t
		}
	}
}

func (w wantDecoder) absent(p pair) {
	w.want.At[p.key] = w.position(p.at)
	w.want.Absent = []string{}
	for _, n := range w.list(p.value, "absent", 3) {
		path, ok := w.text(n, "absent", 4)
		if !ok {
			continue
		}
		if _, ok := w.path(pair{key: path, at: n, value: n}, "absent"); ok {
			w.want.Absent = append(w.want.Absent, path)
			w.want.At["absent."+path] = w.position(n)
		}
	}
}

// yes reads a key that is only ever true.
func (w wantDecoder) yes(p pair) bool {
	w.want.At[p.key] = w.position(p.at)
	var b bool
	if w.visit(p.value, 3) && (p.value.ShortTag() != "!!bool" || p.value.Decode(&b) != nil || !b) {
		w.add(RuleBadCase, Error, p.value.Line, p.value.Column, "write "+p.key+": true, or leave it out", "%s is true where it is given", p.key)
	}
	return b
}

func (w wantDecoder) exact(p pair)   { w.want.Exact = w.yes(p) }
func (w wantDecoder) dropped(p pair) { w.want.Dropped = w.yes(p) }

func (w wantDecoder) dead(p pair) {
	w.want.At[p.key] = w.position(p.at)
	t, _ := w.pattern(p.value, "dead", 3)
	w.want.Dead = &t
}

func (w wantDecoder) errors(p pair) {
	w.want.At[p.key] = w.position(p.at)
	w.want.Errors = []Text{}
	for i, n := range w.list(p.value, "errors", 3) {
		if t, ok := w.pattern(n, "errors", 4); ok {
			w.want.Errors = append(w.want.Errors, t)
			w.want.At["errors."+strconv.Itoa(i)] = w.position(n)
		}
	}
}

func (w wantDecoder) event(p pair) {
	w.want.Event = make(map[string]any)
	for _, p := range w.entries(p) {
		v, read := w.plain(p.value, "event."+p.key, 4)
		// A key is one part of a path here, whatever it holds.
		at, ok := w.path(pair{key: JoinPath(p.key), at: p.at, value: p.value}, "event")
		if !ok || !read {
			continue
		}
		if v, ok := w.wanted(at, v, p.value, "event."+p.key); ok {
			w.want.Event[p.key] = v
		}
	}
}

// onlyAlerts checks that a case with events wants nothing of a single one.
func (w wantDecoder) onlyAlerts() {
	for _, key := range wantKeys {
		if at, ok := w.want.At[key]; ok && key != "alerts" {
			w.add(RuleBadCase, Error, at.Line, at.Column, "test it in a case with raw", "the case has events, so there is no one event that %s is about", key)
		}
	}
}

// exclusive checks that the wants of a case can all hold.
func (w wantDecoder) exclusive(n *yaml.Node) {
	given := w.want
	for _, key := range []string{"dropped", "dead", "event"} {
		at, ok := given.At[key]
		if !ok {
			continue
		}
		for _, other := range []string{"fields", "matches", "absent", "exact", "event", "dead", "dropped", "errors"} {
			if _, too := given.At[other]; !too || other == key || key == "event" && other == "errors" {
				continue
			}
			w.add(RuleBadCase, Error, at.Line, at.Column, "remove one of them", "the case wants %s and %s", key, other)
			return
		}
	}
	for _, key := range []string{"dropped", "dead"} {
		if at, ok := given.At[key]; ok && given.Alerts != nil {
			w.add(RuleBadCase, Error, at.Line, at.Column, "remove one of them", "the case wants %s and alerts", key)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(given.Fields)) {
		if slices.Contains(given.Absent, path) {
			at := given.At["fields."+path]
			w.add(RuleBadCase, Error, at.Line, at.Column, "remove one of them", "%s is wanted under fields and under absent", path)
		}
	}
}
