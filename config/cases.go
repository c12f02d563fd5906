package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	pb "github.com/epmesh/epmesh/proto"
	"go.yaml.in/yaml/v3"
)

// CaseSuffix is what the names of case files end in. They lie beside pipeline
// files, or rules, and are never read as configuration.
const CaseSuffix = "_test.yml"

// CaseFile is a file of cases: logs, and what pipelines are to make of them. It
// is not changed after ParseCases, so it may be read by many at once.
type CaseFile struct {
	Path string
	// Files are the pipeline files and folders that the file names, as paths
	// from where the program runs; none means those that the node would read.
	Files []Named
	Cases []Case
	// Rules are the rule files and folders that the file names, likewise.
	Rules []Named
	// StripUnderscores runs the pipelines as where the setting
	// pipeline.keep_underscores is false.
	StripUnderscores bool
	// Stubs lists the plugins that the file as a whole answers for.
	Stubs []Named

	data []byte
	root *yaml.Node
}

// Named is a name and where it was written.
type Named struct {
	Name     string
	Position Position
}

// Case is one log and what is to come of it.
type Case struct {
	Position Position
	Name     string  // unique in the file
	Log      *pb.Log // nil where the case has events
	// Events are what rules see, in their order.
	Events []CaseEvent
	// Plugins says what plugins answer where a dynamic step calls them, by name.
	Plugins map[string]Stub
	Want    Want
}

// Stub is what a case says that a plugin answers.
type Stub struct {
	// Set are values by path, put into the draft.
	Set map[string]any
	// Lookup are values by the text found at the path that the step's
	// params.source names; they are put at params.destination.
	Lookup map[string]any
	// Error is the plugin's error; "" is none.
	Error string
}

// Want is what a case wants. At most one of Dropped, Dead, Event and the rest
// is given.
type Want struct {
	// Fields are wanted values by path: nil where the case has no such key.
	Fields map[string]any
	// Matches are texts by path that values must hold or match.
	Matches map[string]Text
	// Absent are paths where nothing may stand.
	Absent []string
	// Exact wants no field besides those in Fields, but for the envelope.
	Exact bool
	// Event is the whole event, nested; nil where the case has no such key.
	Event map[string]any
	// Errors are those wanted on the event, and no others. Nil where the case
	// has no such key, which wants none.
	Errors []Text
	// Dropped wants that a drop step discards the log.
	Dropped bool
	// Dead wants that the log cannot become an event; nil where it may.
	Dead *Text

	// Alerts are those wanted, and no others. Nil where the case has no such key:
	// then no rules are asked.
	Alerts []WantedAlert

	// At is where each path and key stands, such as "fields.log.x".
	At map[string]Position
}

// None reports whether the case wants nothing at all.
func (w *Want) None() bool {
	return w.Fields == nil && w.Matches == nil && w.Absent == nil && !w.Exact && w.Event == nil && w.Errors == nil && !w.Dropped && w.Dead == nil && w.Alerts == nil
}

// Text is a text to be found in another, or, written /so/, a regular expression
// that is to match.
type Text struct {
	Source string // as it is written
	re     *regexp.Regexp
}

// In reports whether the text is found in s.
func (t Text) In(s string) bool {
	if t.re != nil {
		return t.re.MatchString(s)
	}
	return strings.Contains(s, t.Source)
}

// NewText makes a Text that is found in s, and not read as a regular expression.
func NewText(s string) Text {
	if isRegexp(s) {
		s = "/" + regexp.QuoteMeta(s) + "/"
		return Text{Source: s, re: regexp.MustCompile(s[1 : len(s)-1])}
	}
	return Text{Source: s}
}

func isRegexp(s string) bool {
	return len(s) > 2 && s[0] == '/' && s[len(s)-1] == '/'
}

// FindCases lists the case files that paths name, each once: files as they are
// given, and in folders all whose names end in CaseSuffix. An error names a path
// that is not there or cannot be read.
func FindCases(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, reason(err))
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		err = filepath.WalkDir(path+string(filepath.Separator), func(name string, e fs.DirEntry, err error) error {
			switch name = filepath.Clean(name); {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return fmt.Errorf("%s: %w", name, reason(err))
			case e.IsDir() || !strings.HasSuffix(name, CaseSuffix) || strings.HasPrefix(filepath.Base(name), "."):
				return nil // hidden ones are editors' locks and copies
			case len(files) == maxFiles:
				return fmt.Errorf("%s: more than %d case files", path, maxFiles)
			}
			files = append(files, name)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	seen := make(map[string]bool, len(files))
	return slices.DeleteFunc(files, func(path string) bool {
		key, err := filepath.Abs(path)
		if err != nil {
			key = path
		}
		twice := seen[key]
		seen[key] = true
		return twice
	}), nil
}

// LoadCases reads one case file. The file is of use only if the report has no
// errors.
func LoadCases(path string) (*CaseFile, Report) {
	data, err := readFile(path)
	if err != nil {
		return &CaseFile{Path: path}, Report{{
			Position: Position{File: path}, Severity: Error, Rule: RuleFileNotRead,
			Message: "cannot read the file: " + reason(err).Error(), Hint: "name a file that can be read",
		}}
	}
	return ParseCases(path, data)
}

// LoadFiles reads pipeline files in the order given, and folders as Load does,
// into one set.
func LoadFiles(paths ...string) (*Set, Report) {
	b := newBuilder()
	var report Report
	for _, path := range paths {
		l := &listing{}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			l = list(path)
		} else {
			l.files = []file{{path: path}}
		}
		for _, f := range l.files {
			data, err := readFile(f.path)
			if err != nil {
				l.add(RuleFileNotRead, Error, f.path, "name a file that can be read", "cannot read the file: %v", reason(err))
				continue
			}
			b.file(f.path, data)
		}
		report = append(report, l.report...)
	}
	b.finish()
	return b.set, append(report, b.report...)
}
