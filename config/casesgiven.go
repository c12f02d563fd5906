package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	pb "github.com/epmesh/epmesh/proto"
	"go.yaml.in/yaml/v3"
)

// files reads a list of paths.
func (d *caseDecoder) files(p pair, without string) (list []Named) {
	for _, n := range d.list(p.value, p.key, 1) {
		name, ok := d.text(n, p.key, 2)
		switch {
		case !ok:
			continue
		case name == "" || strings.ContainsRune(name, 0):
			d.add(RuleBadCase, Error, n.Line, n.Column, "", "%s: %q is no path", p.key, name)
			continue
		case len(list) == maxFiles:
			d.add(RuleBadCase, Error, n.Line, n.Column, "", "%s: more than %d", p.key, maxFiles)
			return list
		case !filepath.IsAbs(name):
			name = filepath.Join(filepath.Dir(d.out.Path), name)
		}
		list = append(list, Named{name, d.position(n)})
	}
	if len(list) == 0 && !d.failed {
		d.add(RuleBadCase, Error, p.at.Line, p.at.Column, without, "%s: the list is empty", p.key)
	}
	return list
}

// logKeys are the keys that cases have for what a log says beside its text.
var logKeys = map[string]string{"dataType": "dataType", "dataSource": "dataSource", "tenantId": "tenantId", "timestamp": "@timestamp"}

func (d *caseDecoder) givenDefaults(p pair) {
	take := make(map[string]func(pair))
	for key, field := range logKeys {
		take[key] = func(p pair) {
			if s, ok := d.text(p.value, "defaults."+key, 2); ok {
				d.defaults[field] = s
			}
		}
	}
	d.keys(p.value, "defaults", 1, take)
}

// maxCaseName bounds the name of a case, which stands in lines of output.
const maxCaseName = 200

// log reads a log by its JSON names.
func (d *caseDecoder) log(p pair) map[string]string {
	out, take := make(map[string]string), make(map[string]func(pair))
	for _, key := range names((&pb.Log{}).ProtoReflect().Descriptor().Fields()) {
		take[key] = func(p pair) {
			if s, ok := d.text(p.value, "log."+key, 4); ok {
				out[key] = s
			}
		}
	}
	d.keys(p.value, "log", 3, take)
	return out
}

// plugins reads what plugins answer.
func (d *caseDecoder) plugins(p pair, name string, depth int) map[string]Stub {
	if !d.visit(p.value, depth) {
		return nil
	}
	if p.value.Kind != yaml.MappingNode {
		d.wrong(p.value, name, "a mapping", "write the name of a plugin, and below it set, lookup or error")
		return nil
	}
	out := make(map[string]Stub)
	for _, p := range d.pairs(p.value, depth) {
		path := name + "." + p.key
		var s Stub
		values := func(into *map[string]any, key string) func(pair) {
			return func(p pair) {
				if p.value.Kind != yaml.MappingNode {
					d.wrong(p.value, path+"."+key, "a mapping", "")
				} else if v, ok := d.plain(p.value, path+"."+key, depth+2); ok {
					*into = v.(map[string]any)
				}
			}
		}
		ok := d.keys(p.value, path, depth+1, map[string]func(pair){
			"set":    values(&s.Set, "set"),
			"lookup": values(&s.Lookup, "lookup"),
			"error":  func(p pair) { s.Error, _ = d.text(p.value, path+".error", depth+2) },
		})
		for key := range s.Set {
			if slices.Contains(SplitPath(key), "") {
				d.add(RuleBadCase, Error, p.at.Line, p.at.Column, "", "%s.set: the path %q has an empty part", path, key)
			}
		}
		if ok && s.Error != "" && (s.Set != nil || s.Lookup != nil) {
			d.add(RuleBadCase, Error, p.at.Line, p.at.Column, "remove one of them", "%s: a plugin answers a draft or an error", path)
		}
		out[p.key] = s
	}
	return out
}

// pattern reads a Text.
func (d *caseDecoder) pattern(n *yaml.Node, name string, depth int) (Text, bool) {
	s, ok := d.text(n, name, depth)
	if !ok {
		return Text{}, false
	}
	t := Text{Source: s}
	if s == "" {
		d.add(RuleBadCase, Error, n.Line, n.Column, "", "%s: an empty text is in every other", name)
		return t, false
	}
	if isRegexp(s) {
		var err error
		if t.re, err = regexp.Compile(s[1 : len(s)-1]); err != nil {
			d.add(RuleBadCase, Error, n.Line, n.Column, "", "%s: %v", name, err)
			return t, false
		}
	}
	return t, true
}
