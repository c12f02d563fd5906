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

// SettingsFile is the settings' name in the work dir.
const SettingsFile = "epmesh.yaml"

// Sources are where settings come from. What comes later counts more:
// defaults, file, environment, flags.
type Sources struct {
	// File is the settings file. Empty: epmesh.yaml in the work dir, which
	// need not be there.
	File string
	// Lookup reads the environment, as os.LookupEnv; nil: there is none.
	Lookup func(name string) (string, bool)
	// Environ lists the environment as os.Environ does. It only serves to find
	// misspelt names; nil: none are looked for.
	Environ []string
	// Dir is the work dir as a flag gave it; empty: no flag did.
	Dir string
	// Override puts the values of other flags in; it is called once. nil:
	// there are none.
	Override func(*Settings)
	// Warn is called with what is likely not meant as it stands but forbids
	// nothing, before LoadSettings returns; nil: it is not told.
	Warn func(Problem)
}

// LoadSettings puts the settings together and checks them as a whole. The error
// is a *ReportError with every mistake. Paths in the result are absolute.
func LoadSettings(src Sources) (Settings, error) {
	l := &loader{src: src, settings: Defaults(), origin: make(map[string]Position)}
	l.lax = Error
	l.workDir()
	l.readFile()
	l.readEnvironment()
	l.readFlags()
	l.absolute()
	l.check()
	report := l.sorted()
	if src.Warn != nil {
		for _, p := range report.Warnings() {
			src.Warn(p)
		}
	}
	return l.settings, report.Err()
}

// loader is one LoadSettings.
type loader struct {
	document
	src      Sources
	settings Settings
	// origin is where each setting was given that is not at its default.
	origin map[string]Position
	mode   fs.FileMode // of the file
}

var flags = Position{File: "flags"}

// workDir finds the work dir, as the file may lie in it.
func (l *loader) workDir() {
	if l.src.Dir != "" {
		l.settings.Dir, l.origin["work_dir"] = l.src.Dir, Position{File: "flag --work-dir"}
		return
	}
	for f := range fields(&l.settings) {
		if f.path == "work_dir" {
			l.fromEnvironment(f)
		}
	}
}

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
		l.add(Error, 0, 0, "name a file that can be read", "cannot read the settings: %v", reason(err))
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
		l.add(Error, at.Line, at.Column, "remove the key, or name this file with a flag", "work_dir: this file was found because it lies in %s, but it names another work dir", dir)
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
		l.add(Error, n.Line, n.Column, "write key: value", "%sexpected a mapping, found %s", label(prefix), found(n))
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
			if elsewhere := l.elsewhere(p.key); elsewhere != "" && suggest(p.key, known) == "" {
				hint = "did you mean " + elsewhere + "?"
			}
			l.add(Error, p.at.Line, p.at.Column, hint, "%sunknown key %q", label(prefix), p.key)
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
			l.add(Error, n.Line, n.Column, "write "+f.path+": [name, name]", "%s: expected a list, found %s", f.path, found(n))
			return
		}
		items := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			item = behind(item)
			if item.Kind != yaml.ScalarNode || item.ShortTag() == "!!null" {
				l.add(Error, item.Line, item.Column, "", "%s: expected a text, found %s", f.path, found(item))
				return
			}
			items = append(items, item.Value)
		}
		*list, l.origin[f.path] = items, at
		return
	}
	if n.Kind != yaml.ScalarNode {
		l.add(Error, n.Line, n.Column, "", "%s: expected one value, found %s", f.path, found(n))
		return
	}
	if n.Value == "" && !mayBeEmpty[f.path] {
		return
	}
	if want, ok := f.set(n.Value); !ok {
		l.add(Error, n.Line, n.Column, unitHint(f, n.Value), "%s: expected %s, found %q", f.path, want, n.Value)
		return
	}
	l.origin[f.path] = at
}

func (l *loader) readEnvironment() {
	known := make(map[string]bool)
	var names []string
	for f := range fields(&l.settings) {
		for _, name := range f.env() {
			known[name] = true
			names = append(names, name)
		}
		if f.path != "work_dir" {
			l.fromEnvironment(f)
		}
	}
	for _, entry := range l.src.Environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "EPMESH_") && !known[name] {
			if near := suggest(name, names); near != "" {
				l.addAt(Position{File: "environment"}, Warning, "did you mean "+near+"?", "%s is no setting", name)
			}
		}
	}
}

// fromEnvironment takes a setting's variable, if there is one.
func (l *loader) fromEnvironment(f field) {
	if l.src.Lookup == nil {
		return
	}
	for _, name := range f.env() {
		text, ok := l.src.Lookup(name)
		if !ok || text == "" && !mayBeEmpty[f.path] {
			continue
		}
		at := Position{File: "environment " + name}
		if want, ok := f.set(text); !ok {
			l.addAt(at, Error, unitHint(f, text), "expected %s, found %q", want, text)
			return
		}
		l.origin[f.path] = at
		return
	}
}

func (l *loader) readFlags() {
	if l.src.Override == nil {
		return
	}
	before := l.settings
	before.Groups = append([]string(nil), l.settings.Groups...)
	l.src.Override(&l.settings)
	was := make(map[string]string)
	for f := range fields(&before) {
		was[f.path] = f.text()
	}
	for f := range fields(&l.settings) {
		if f.text() != was[f.path] {
			l.origin[f.path] = flags
		}
	}
}

// absolute makes paths independent of the current folder. Those in a file are
// relative to the file.
func (l *loader) absolute() {
	for path, p := range map[string]*string{
		"work_dir":         &l.settings.Dir,
		"nats.credentials": &l.settings.NATS.Credentials,
		"nats.context":     &l.settings.NATS.Context,
	} {
		if *p == "" {
			continue
		}
		at := l.origin[path]
		if at.Line > 0 && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(at.File), *p)
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			l.addAt(at, Error, "give an absolute path", "%s: %v", path, err)
			continue
		}
		*p = abs
	}
}

// addAt reports a problem that may lie outside the file.
func (l *loader) addAt(at Position, s Severity, hint, format string, args ...any) {
	l.add(s, at.Line, at.Column, hint, format, args...)
	if n := len(l.report); n > 0 && l.omitted == 0 {
		l.report[n-1].Position = at
	}
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
