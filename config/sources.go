package config

import (
	"io/fs"
	"path/filepath"
	"strings"
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
			if near := Suggest(name, names); near != "" {
				l.addAt(RuleBadSetting, Position{File: "environment"}, Warning, "did you mean "+near+"?", "%s is no setting", name)
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
			l.addAt(RuleBadSetting, at, Error, unitHint(f, text), "expected %s, found %q", want, text)
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

// isPath are the settings that name a file or folder.
var isPath = map[string]bool{
	"work_dir": true, "nats.credentials": true, "nats.context": true,
	"nats.tls.ca": true, "nats.tls.cert": true, "nats.tls.key": true,
	"nats.cluster.tls.ca": true, "nats.cluster.tls.cert": true, "nats.cluster.tls.key": true,
	"nats.leaf.credentials": true, "nats.leaf.tls.ca": true, "nats.leaf.tls.cert": true, "nats.leaf.tls.key": true,
	"nats.edges.users": true, "nats.edges.tls.ca": true, "nats.edges.tls.cert": true, "nats.edges.tls.key": true,
}

// absolute makes paths independent of the current folder. Those in a file are
// relative to the file.
func (l *loader) absolute() {
	for f := range fields(&l.settings) {
		path := f.path
		p, ok := f.value.Addr().Interface().(*string)
		if !ok || !isPath[path] || *p == "" {
			continue
		}
		at := l.origin[path]
		if at.Line > 0 && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(at.File), *p)
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			l.addAt(RuleBadSetting, at, Error, "give an absolute path", "%s: %v", path, err)
			continue
		}
		*p = abs
	}
}

// addAt reports a problem that may lie outside the file.
func (l *loader) addAt(rule string, at Position, s Severity, hint, format string, args ...any) {
	l.add(rule, s, at.Line, at.Column, hint, format, args...)
	if n := len(l.report); n > 0 && l.omitted == 0 {
		l.report[n-1].Position = at
	}
}
