// Package file is the bundled input plugin that reads lines from files and from
// standard input.
//
// Each file's position is kept on disk and moves only when the node has stored
// the line, so that after a crash nothing is missing; what is read again has the
// same id and is known by it.
package file

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	// Paths are files, globs, or "-" for standard input.
	Paths      []string `json:"paths"`
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
	// Poll is the pause between two looks for new lines and files.
	Poll plugins.Duration `json:"poll"`
}

const maxFiles = 4096

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := settings{
		DataType: "generic", DataSource: i.Host, Follow: true, From: "beginning",
		MaxLine: 1 << 20, Poll: plugins.Duration(250 * time.Millisecond),
	}
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return &reader{Instance: i, settings: s}, nil
}

func (s settings) check() error {
	var errs []error
	if len(s.Paths) == 0 {
		errs = append(errs, errors.New(`paths: at least one file, glob or "-" is needed`))
	}
	for _, p := range s.Paths {
		if _, err := filepath.Match(p, ""); err != nil {
			errs = append(errs, fmt.Errorf("paths: %q is no valid glob", p))
		}
		if p != "-" && !filepath.IsAbs(p) {
			errs = append(errs, fmt.Errorf("paths: %q must be absolute: a plugin's working directory is not yours", p))
		}
	}
	if s.DataType == "" {
		errs = append(errs, errors.New("dataType: may not be empty"))
	}
	if !slices.Contains([]string{"beginning", "end"}, s.From) {
		errs = append(errs, fmt.Errorf("from: is %q, want beginning or end", s.From))
	}
	if s.MaxLine < 1024 || s.MaxLine > 3<<20 {
		errs = append(errs, fmt.Errorf("maxLine: is %d, want 1024 to %d bytes", s.MaxLine, 3<<20))
	}
	if s.Poll.D() < 10*time.Millisecond || s.Poll.D() > time.Minute {
		errs = append(errs, fmt.Errorf("poll: is %s, want 10ms to 1m", s.Poll))
	}
	return errors.Join(errs...)
}
