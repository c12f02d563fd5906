package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
)

// sets are the pipelines that case files test, each loaded once.
type sets struct {
	mu    sync.Mutex
	byKey map[string]*loaded
}

// loaded is one set of pipelines.
type loaded struct {
	once      sync.Once
	key       string
	config    *config.Set
	pipelines *pipeline.Set
	uses      uses
	problems  config.Report
}

// of gives the pipelines of a case file, nil where they cannot be used.
func (s *sets) of(f *config.CaseFile) (*loaded, config.Report) {
	paths, problems := pipelineFiles(f)
	if problems != nil {
		return nil, problems
	}
	needed := slices.ContainsFunc(f.Cases, func(c config.Case) bool { return len(c.Logs()) > 0 })
	if !needed && len(f.Files) == 0 {
		paths = nil
	}
	s.mu.Lock()
	options := pipeline.Options{ListUnknown: true, StripUnderscore: f.StripUnderscores}
	key := fmt.Sprint(f.StripUnderscores) + strings.Join(paths, "\x00")
	l := s.byKey[key]
	if l == nil {
		l = &loaded{key: key}
		s.byKey[key] = l
	}
	s.mu.Unlock()
	l.once.Do(func() { l.load(paths, options) })
	switch {
	case len(l.problems) > 0:
		return nil, l.problems
	case len(l.config.Pipelines) == 0 && needed:
		return nil, config.Report{{
			Position: config.Position{File: f.Path}, Severity: config.Error,
			Message: "there are no pipelines in " + strings.Join(paths, ", "),
			Hint:    "write files: and the pipeline files that the cases are for, as paths from this file's folder",
		}}
	}
	return l, nil
}

func (l *loaded) load(paths []string, options pipeline.Options) {
	set, report := config.LoadFiles(paths...)
	if l.problems = report.Errors(); len(l.problems) > 0 {
		return
	}
	l.config = set
	// A step that cannot be compiled says so on the events that meet it.
	l.pipelines, _ = pipeline.Compile(set, options)
}

// pipelineFiles are the files and folders that a case file tests: those it
// names, else the folder that the node would read.
func pipelineFiles(f *config.CaseFile) ([]string, config.Report) {
	if len(f.Files) == 0 {
		return []string{pipelineFolder(filepath.Dir(f.Path))}, nil
	}
	return named("files", f.Files)
}

// named are the paths that a case file gives under a key.
func named(key string, list []config.Named) ([]string, config.Report) {
	var paths []string
	var problems config.Report
	for _, n := range list {
		if _, err := os.Stat(n.Name); err != nil {
			problems = append(problems, config.Problem{
				Position: n.Position, Severity: config.Error,
				Message: fmt.Sprintf("%s: %s cannot be read", key, n.Name), Hint: "paths are relative to this file's folder",
			})
		}
		paths = append(paths, n.Name)
	}
	return paths, problems
}

// pipelineFolder is the nearest folder called pipeline, this one or above it;
// without one it is the folder itself.
func pipelineFolder(dir string) string {
	if near := nearest(dir, "pipeline"); near != "" {
		return near
	}
	return dir
}

// nearest is the nearest folder of a name, this one or above it; "" for none.
func nearest(dir, name string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for at := abs; at != filepath.Dir(at); at = filepath.Dir(at) {
		if filepath.Base(at) != name {
			continue
		}
		// As a path like the one that was given, for positions to be found by.
		if rel, err := filepath.Rel(abs, at); err == nil && !filepath.IsAbs(dir) {
			if near := filepath.Join(dir, rel); !strings.HasPrefix(near, "..") {
				return near
			}
		}
		return at
	}
	return ""
}
