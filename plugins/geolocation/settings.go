// Package geolocation is the bundled parsing plugin that adds to an address
// where it is and whose, from MaxMind databases (.mmdb) and from tables in the
// form of GeoLite2's CSV.
//
// All files are loaded into memory as one set, which is swapped in whole: while
// a new one is loaded the old one answers, and a file that is broken leaves the
// old set in place.
package geolocation

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	// Folder holds the files; a relative one is below WORK_DIR.
	Folder string `json:"folder"`
	// Locale is the language of names.
	Locale string `json:"locale"`
	// Accuracy writes the radius in kilometres too, which the reference engine
	// does not.
	Accuracy bool `json:"accuracy"`
	// Reload is the pause between two looks for changed files. A change is taken
	// once nothing has moved between two looks.
	Reload plugins.Duration `json:"reload"`
	// Require keeps the plugin from serving until there are files to answer from.
	Require bool `json:"require"`
	// MaxBytes bounds the files of one set.
	MaxBytes int64 `json:"maxBytes"`
}

func defaults() settings {
	return settings{Folder: "geolocation", Locale: "en", Reload: plugins.Duration(10 * time.Second), MaxBytes: 2 << 30}
}

// Defaults are the settings with what holds where nothing is said.
func Defaults() any { return defaults() }

// New makes the plugin from its settings. No file is read yet.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	if !filepath.IsAbs(s.Folder) {
		s.Folder = filepath.Join(i.Dir, s.Folder)
	}
	return &locator{Instance: i, settings: s}, nil
}

func (s settings) check() error {
	var errs []error
	if s.Folder == "" {
		errs = append(errs, errors.New("folder: may not be empty"))
	}
	if s.Locale == "" || len(s.Locale) > 16 || strings.ContainsAny(s.Locale, "./ ") {
		errs = append(errs, fmt.Errorf("locale: is %q, want a language such as en or pt-BR", s.Locale))
	}
	if s.Reload.D() < 10*time.Millisecond || s.Reload.D() > 24*time.Hour {
		errs = append(errs, fmt.Errorf("reload: is %s, want 10ms to 24h", s.Reload))
	}
	if s.MaxBytes < 1024 || s.MaxBytes > 64<<30 {
		errs = append(errs, fmt.Errorf("maxBytes: is %d, want 1024 to %d", s.MaxBytes, int64(64<<30)))
	}
	return errors.Join(errs...)
}
