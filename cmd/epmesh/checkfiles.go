package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/lint"
)

// checked is what a check looks at.
type checked struct {
	lint.Input
	count   int    // files
	workDir string // the one that is checked; "" if there is none
	others  bool   // something beside it is checked, or several are
	taken   map[string]bool
	strip   bool // underscores, as the settings say
}

// take adds a path that was named: a work dir as a node reads it, another folder
// with all below it, or a file.
func (t *checked) take(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	path = filepath.Clean(path)
	if !info.IsDir() {
		t.others = true
		return t.file(path, true)
	}
	if isWorkDir(path) {
		t.others = t.others || t.workDir != ""
		t.settings(filepath.Join(path, config.SettingsFile), path)
		t.node(path, filepath.Join(path, "pipeline"), filepath.Join(path, "rules"))
		return nil
	}
	t.others = true
	return t.folder(path)
}

func isWorkDir(dir string) bool {
	return exists(filepath.Join(dir, "pipeline")) || exists(filepath.Join(dir, config.SettingsFile)) && exists(filepath.Join(dir, "rules"))
}

// node takes what a node reads of a work dir.
func (t *checked) node(dir, pipelines, rules string) {
	t.workDir = dir
	sources, report := config.PipelineFiles(pipelines)
	t.Pipelines, t.Report = append(t.Pipelines, sources...), append(t.Report, report...)
	more, report := config.RuleFiles(rules)
	t.Rules, t.Report = append(t.Rules, more...), append(t.Report, report...)
	t.count += len(sources) + len(more)
	// Those that cannot be listed were reported as what they may be instead.
	if cases, err := config.FindCases(existing(pipelines, rules)); err == nil {
		for _, path := range cases {
			if f, ok := t.read(path); ok {
				_ = t.source(f, false)
			}
		}
	}
}

func existing(paths ...string) []string {
	return slices.DeleteFunc(paths, func(path string) bool { return !exists(path) })
}

// folder takes everything below a folder that is for epmesh.
func (t *checked) folder(dir string) error {
	var files []config.Source
	before := t.count
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && path != dir:
			t.count++
			t.Report = append(t.Report, config.Problem{
				Position: config.Position{File: path}, Severity: config.Error, Rule: config.RuleFileNotRead, Message: "cannot read the folder: " + errors.Unwrap(err).Error(),
			})
			return fs.SkipDir
		case err != nil:
			return errors.Unwrap(err)
		case e.IsDir() && path != dir && strings.HasPrefix(e.Name(), "."):
			return fs.SkipDir
		case e.IsDir() || !slices.Contains([]string{".yml", ".yaml"}, filepath.Ext(path)):
			return nil
		case t.count-before+len(files) > maxChecked:
			return fmt.Errorf("more than %d files", maxChecked)
		}
		f, ok := t.read(path)
		if !ok {
			return nil
		}
		if config.KindOf(f) == config.PipelineFile {
			files = append(files, f)
			return nil
		}
		return t.source(f, false)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	config.SortSources(files)
	for _, f := range files {
		if err := t.source(f, false); err != nil {
			return err
		}
	}
	return nil
}

// maxChecked bounds the files of one folder.
const maxChecked = 10_000

func (t *checked) read(path string) (config.Source, bool) {
	if t.taken[path] {
		return config.Source{}, false
	}
	if t.taken == nil {
		t.taken = map[string]bool{}
	}
	t.taken[path] = true
	f, err := config.ReadSource(path)
	if err != nil {
		t.count++
		t.Report = append(t.Report, config.Problem{
			Position: config.Position{File: path}, Severity: config.Error, Rule: config.RuleFileNotRead,
			Message: "cannot read the file: " + err.Error(),
		})
		return f, false
	}
	return f, true
}

func (t *checked) file(path string, named bool) error {
	f, ok := t.read(path)
	if !ok {
		return nil
	}
	return t.source(f, named)
}

// source adds a file as what it is for. One of no use to epmesh is passed over
// unless it was named.
func (t *checked) source(f config.Source, named bool) error {
	switch config.KindOf(f) {
	case config.PipelineFile:
		t.Pipelines = append(t.Pipelines, f)
		if base := filepath.Base(f.Name); filepath.Ext(base) == ".yml" && filepath.Base(filepath.Dir(f.Name)) == "pipeline" {
			t.Report = append(t.Report, config.Problem{
				Position: config.Position{File: f.Name}, Severity: config.Warning, Rule: config.RuleFileNotRead,
				Message: "a node does not read the file: its name does not end in .yaml", Hint: "rename it to " + strings.TrimSuffix(base, ".yml") + ".yaml",
			})
		}
	case config.RuleFile:
		t.Rules = append(t.Rules, f)
	case config.SettingsYAML:
		t.settings(f.Name, filepath.Dir(f.Name))
		return nil
	case config.CasesFile:
		_, report := config.ParseCases(f.Name, f.Data)
		t.Report, t.Others = append(t.Report, report...), append(t.Others, f)
	default:
		if !named {
			return nil
		}
		// Of what cannot be read nothing can be told; then it says why.
		if _, report := config.Parse(f.Name, f.Data); slices.ContainsFunc(report, func(p config.Problem) bool {
			return p.Rule == config.RuleSyntax || p.Rule == config.RuleTooLarge
		}) {
			t.Pipelines = append(t.Pipelines, f)
			break
		}
		return fmt.Errorf("%s: this is neither a pipeline file, nor rules, nor settings: it has none of their keys (pipeline, patterns, plugins; name, where, dataTypes; nats, http, log)", f.Name)
	}
	t.count++
	return nil
}

// settings checks a settings file by itself: what the environment and the
// machine say is not looked at.
func (t *checked) settings(file, dir string) {
	data, err := config.ReadSource(file)
	if err != nil {
		return // it need not be there
	}
	t.count++
	t.Others = append(t.Others, data)
	var report config.Report
	s, err := config.LoadSettings(config.Sources{File: file, Dir: dir, Warn: func(p config.Problem) { report = append(report, p) }})
	t.strip = !s.Pipeline.KeepUnderscores
	if refused, ok := errors.AsType[*config.ReportError](err); ok {
		report = append(report, refused.Report...)
	}
	for _, p := range report {
		if p.Position.File == file {
			t.Report = append(t.Report, p)
		}
	}
}

// installed tells which plugins are in a work dir: as files, or running already.
func installed(dir string) func(string) bool {
	there := map[string]bool{}
	_ = filepath.WalkDir(filepath.Join(dir, "plugins"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if name, is := strings.CutSuffix(e.Name(), ".plugin"); is {
				there[name] = true
			}
		}
		return nil // what cannot be read holds no plugin that a node could start
	})
	sockets, _ := os.ReadDir(filepath.Join(dir, "sockets"))
	for _, e := range sockets {
		if i := strings.LastIndexByte(e.Name(), '_'); i > 0 {
			there[e.Name()[:i]] = true
		}
	}
	return func(name string) bool { return there[name] }
}
