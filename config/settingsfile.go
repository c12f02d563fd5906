package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readFile takes the settings of the file, if there is one.
func (l *loader) readFile() {
	path := l.src.File
	if path == "" {
		path = filepath.Join(l.settings.Dir, SettingsFile)
	}
	l.file = path
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && l.src.File == "" {
		l.file = ""
		return
	}
	var data []byte
	if err == nil {
		defer f.Close()
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil {
			l.mode = info.Mode()
			data, err = io.ReadAll(io.LimitReader(f, maxFileSize+1))
		}
	}
	if err != nil {
		l.add(RuleFileNotRead, Error, 0, 0, "name a file that can be read", "cannot read the settings: %v", reason(err))
		return
	}
	root := l.parse(data)
	if root == nil {
		return
	}
	dir, from := l.settings.Dir, l.origin["work_dir"]
	l.section(reflect.ValueOf(&l.settings).Elem(), root, "", 0)
	at := l.origin["work_dir"]
	if at.Line == 0 || l.src.File != "" && from.File == "" {
		return // the file is silent, or the first to speak
	}
	given := l.settings.Dir
	if !filepath.IsAbs(given) {
		given = filepath.Join(filepath.Dir(path), given)
	}
	if l.src.File == "" && from.File == "" && !sameDir(given, dir) {
		l.add(RuleBadSetting, Error, at.Line, at.Column, "remove the key, or name this file with a flag", "work_dir: this file was found because it lies in %s, but it names another work dir", dir)
	}
	l.settings.Dir, l.origin["work_dir"] = dir, from
}

// section reads a mapping into a struct.
func (l *loader) section(v reflect.Value, n *yaml.Node, prefix string, depth int) {
	if !l.visit(n, depth) {
		return
	}
	n = behind(n)
	if n.Kind != yaml.MappingNode {
		l.add(RuleWrongType, Error, n.Line, n.Column, "write key: value", "%sexpected a mapping, found %s", label(prefix), found(n))
		return
	}
	keys := make(map[string]int, v.NumField())
	var known []string
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		keys[key] = i
		known = append(known, key)
	}
	for _, p := range l.pairs(n, depth) {
		i, ok := keys[p.key]
		path := prefix + p.key
		switch {
		case !ok:
			hint := didYouMean(p.key, known)
			if elsewhere := l.elsewhere(p.key); elsewhere != "" && Suggest(p.key, known) == "" {
				hint = "did you mean " + elsewhere + "?"
			}
			l.add(RuleUnknownKey, Error, p.at.Line, p.at.Column, hint, "%sunknown key %q", label(prefix), p.key)
		case p.value.ShortTag() == "!!null":
			// A key without a value says nothing.
		case v.Field(i).Kind() == reflect.Struct:
			l.section(v.Field(i), p.value, path+".", depth+1)
		default:
			l.setting(field{path: path, value: v.Field(i)}, p.value, depth+1)
		}
	}
}

// elsewhere finds a key that was written in the wrong section.
func (l *loader) elsewhere(key string) string {
	for f := range fields(&l.settings) {
		if f.path == key || strings.HasSuffix(f.path, "."+key) {
			return f.path
		}
	}
	return ""
}

// setting reads a scalar, or a list of them, from the file.
func (l *loader) setting(f field, n *yaml.Node, depth int) {
	if !l.visit(n, depth) {
		return
	}
	at := Position{File: l.file, Line: n.Line, Column: n.Column}
	if list, is := f.value.Addr().Interface().(*[]string); is {
		if n.Kind != yaml.SequenceNode {
			l.add(RuleWrongType, Error, n.Line, n.Column, "write "+f.path+": [name, name]", "%s: expected a list, found %s", f.path, found(n))
			return
		}
		items := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			item = behind(item)
			if item.Kind != yaml.ScalarNode || item.ShortTag() == "!!null" {
				l.add(RuleWrongType, Error, item.Line, item.Column, "", "%s: expected a text, found %s", f.path, found(item))
				return
			}
			items = append(items, item.Value)
		}
		*list, l.origin[f.path] = items, at
		return
	}
	if n.Kind != yaml.ScalarNode {
		l.add(RuleWrongType, Error, n.Line, n.Column, "", "%s: expected one value, found %s", f.path, found(n))
		return
	}
	if n.Value == "" && !mayBeEmpty[f.path] {
		return
	}
	if want, ok := f.set(n.Value); !ok {
		l.add(RuleWrongType, Error, n.Line, n.Column, unitHint(f, n.Value), "%s: expected %s, found %q", f.path, want, n.Value)
		return
	}
	l.origin[f.path] = at
}

func label(prefix string) string {
	if prefix == "" {
		return ""
	}
	return strings.TrimSuffix(prefix, ".") + ": "
}

// unitHint helps with the commonest mistake, a number without its unit.
func unitHint(f field, text string) string {
	if f.value.Type().String() == "time.Duration" && text != "" && strings.Trim(text, "0123456789") == "" {
		return "add the unit: " + text + "s"
	}
	return ""
}

func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
