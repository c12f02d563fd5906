// Package file is the bundled input plugin that reads records, of one line or
// several, from growing, rotated and compressed files and from standard input.
//
// How far each log is stored is kept on disk and moves only when the node has
// stored a record, so that after a crash nothing is missing; what is read again
// has the same id and is known by it. A log is followed through renaming,
// copying with truncation and compression: it is known by its place on the disk
// and by what it holds.
package file

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	// Paths are files, globs, or "-" for standard input.
	Paths []string `json:"paths"`
	// Exclude are globs of what Paths would take and is not wanted; one without
	// a slash is held against the name alone.
	Exclude    []string `json:"exclude"`
	DataType   string   `json:"dataType"`
	DataSource string   `json:"dataSource"`
	Tenant     string   `json:"tenant"`
	// Follow goes on reading as files grow and appear; without it the plugin
	// ends when all is read and stored.
	Follow bool `json:"follow"`
	// From is where a file is begun that is there when the plugin first starts:
	// "beginning" or "end". A file that appears later is read whole.
	From string `json:"from"`
	// MaxLine is in bytes; a longer line becomes several logs.
	MaxLine int `json:"maxLine"`
	// Poll is the pause between two looks at everything. Where the system tells
	// of changes, they are read at once.
	Poll plugins.Duration `json:"poll"`
	// Compressed reads .gz, .zst and .bz2 files; without it they are left alone.
	Compressed bool      `json:"compressed"`
	Multiline  multiline `json:"multiline"`
}

// multiline makes records of several lines. Without patterns each line is one.
type multiline struct {
	// Start is a pattern (RE2) of lines that begin a record.
	Start string `json:"start"`
	// Continuation is a pattern of lines that go on with a record.
	Continuation string `json:"continuation"`
	MaxLines     int    `json:"maxLines"`
	MaxBytes     int    `json:"maxBytes"`
	// Flush ends a record to which nothing was added for so long.
	Flush plugins.Duration `json:"flush"`
}

const (
	maxFiles = 4096
	// maxRecord keeps a log within one message even if each second byte has to
	// become a U+FFFD.
	maxRecord = 1900 << 10
)

func defaults() settings {
	return settings{
		DataType: "generic", Follow: true, From: "beginning",
		MaxLine: 1 << 20, Poll: plugins.Duration(time.Second), Compressed: true,
		Multiline: multiline{MaxLines: 500, MaxBytes: 1 << 20, Flush: plugins.Duration(2 * time.Second)},
	}
}

// Defaults returns the plugin's settings as a struct with json tags, filled with
// their defaults; dataSource is besides the host's name.
func Defaults() any { return defaults() }

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	s.DataSource = i.Host
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return &reader{Instance: i, settings: s, cutter: s.cutter()}, nil
}

func (s settings) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(s.Paths) == 0 {
		errs = append(errs, errors.New(`paths: at least one file, glob or "-" is needed`))
	}
	for _, p := range s.Paths {
		if _, err := filepath.Match(p, ""); err != nil {
			wrong("paths: %q is no valid glob", p)
		}
		if p != "-" && !filepath.IsAbs(p) {
			wrong("paths: %q must be absolute: a plugin's working directory is not yours", p)
		}
	}
	for _, p := range s.Exclude {
		if _, err := filepath.Match(p, ""); err != nil {
			wrong("exclude: %q is no valid glob", p)
		}
	}
	if s.DataType == "" {
		errs = append(errs, errors.New("dataType: may not be empty"))
	}
	if !slices.Contains([]string{"beginning", "end"}, s.From) {
		wrong("from: is %q, want beginning or end", s.From)
	}
	if s.MaxLine < 1024 || s.MaxLine > maxRecord {
		wrong("maxLine: is %d, want 1024 to %d bytes", s.MaxLine, maxRecord)
	}
	if s.Poll.D() < 10*time.Millisecond || s.Poll.D() > time.Minute {
		wrong("poll: is %s, want 10ms to 1m", s.Poll)
	}
	m := s.Multiline
	for name, pattern := range map[string]string{"start": m.Start, "continuation": m.Continuation} {
		if _, err := regexp.Compile(pattern); err != nil {
			wrong("multiline.%s: %q is no RE2 pattern: %w", name, pattern, err)
		}
	}
	if m.MaxLines < 2 || m.MaxLines > 100_000 {
		wrong("multiline.maxLines: is %d, want 2 to 100000", m.MaxLines)
	}
	if m.MaxBytes < 1024 || m.MaxBytes > maxRecord {
		wrong("multiline.maxBytes: is %d, want 1024 to %d", m.MaxBytes, maxRecord)
	}
	if m.given() && m.MaxBytes < s.MaxLine {
		wrong("multiline.maxBytes: is %d, less than maxLine (%d): a record must hold a line; lower maxLine or raise maxBytes", m.MaxBytes, s.MaxLine)
	}
	if m.Flush.D() < 10*time.Millisecond || m.Flush.D() > time.Hour {
		wrong("multiline.flush: is %s, want 10ms to 1h", m.Flush)
	}
	return errors.Join(errs...)
}

func (m multiline) given() bool { return m.Start != "" || m.Continuation != "" }

// cutter is what cuts files into records by these settings, which are checked.
func (s settings) cutter() cutter {
	c := cutter{maxLine: s.MaxLine}
	if s.Multiline.given() {
		c.maxLines, c.maxBytes = s.Multiline.MaxLines, s.Multiline.MaxBytes
	}
	if s.Multiline.Start != "" {
		c.start = regexp.MustCompile(s.Multiline.Start)
	}
	if s.Multiline.Continuation != "" {
		c.more = regexp.MustCompile(s.Multiline.Continuation)
	}
	return c
}
