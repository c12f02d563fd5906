// Package demo is the bundled input plugin that makes up traffic: sshd, nginx
// and firewall logs of a handful of hosts, with attacks in it. Addresses are
// those that RFC 5737 keeps for examples, names end in example.com. What comes
// out is the same for the same seed, but for the times in it.
package demo

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

//go:embed files
var files embed.FS

// Files are the pipeline and the rules that make events and alerts of the
// plugin's logs, as they are laid out below a work dir: pipeline/demo.yaml and
// rules/demo.yml.
func Files() fs.FS {
	sub, err := fs.Sub(files, "files")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

// settings are plugins.<name> in the configuration.
type settings struct {
	// Rate is background logs a second; attacks come on top.
	Rate float64 `json:"rate"`
	Seed uint64  `json:"seed"`
	// Attacks can be turned off.
	Attacks bool `json:"attacks"`
	// FirstAttack is how long after the start the first one begins, Every how
	// long after one the next begins, from another address.
	FirstAttack plugins.Duration `json:"firstAttack"`
	Every       plugins.Duration `json:"every"`
	Tenant      string           `json:"tenant"`
}

// Defaults are the settings that count where the configuration says nothing.
func Defaults() any { return defaults() }

func defaults() settings {
	return settings{Rate: 200, Seed: 1, Attacks: true, FirstAttack: plugins.Duration(time.Second), Every: plugins.Duration(time.Minute)}
}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	var errs []error
	if s.Rate < 0 || s.Rate > 1e6 {
		errs = append(errs, fmt.Errorf("rate: is %v, want 0 to 1000000 logs a second", s.Rate))
	}
	if s.FirstAttack < 0 {
		errs = append(errs, fmt.Errorf("firstAttack: is %s, want 0s or more", s.FirstAttack))
	}
	if s.Every.D() < 5*time.Second {
		errs = append(errs, fmt.Errorf("every: is %s, want 5s or more", s.Every))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return &source{Instance: i, settings: s}, nil
}
