// Package cel is the bundled analysis plugin: it holds every event against the
// rules below WORK_DIR/rules, written in the reference engine's format with
// conditions in CEL, and emits an alert where a rule holds.
//
// What a rule searches for in the past is kept on disk, bounded in bytes and age:
// see the package history below. The id of an alert derives from its rule and its
// event, and an event that comes again is searched for as it was the first time,
// so that a repeated call gives the same alert or none.
package cel

import (
	"errors"
	"fmt"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	// Rules is a folder below the work dir.
	Rules string `json:"rules"`
	// History is what is kept for the searches of rules.
	History historySettings `json:"history"`
	// AlertEvents and AlertBytes bound the history that one alert carries.
	AlertEvents int `json:"alertEvents"`
	AlertBytes  int `json:"alertBytes"`
	// Breaker says what happens to a rule that cannot be evaluated, Storm how many
	// alerts may leave.
	Breaker breakerSettings `json:"breaker"`
	Storm   stormSettings   `json:"storm"`
	// Reload is the pause between two looks for changed rules.
	Reload plugins.Duration `json:"reload"`
}

// Defaults are the plugin's settings where nothing is said.
func Defaults() any { return defaults() }

func defaults() settings {
	return settings{
		Rules: "rules", AlertEvents: 100, AlertBytes: 512 << 10, Reload: plugins.Duration(2 * time.Second),
		History: defaultHistory(),
		Breaker: breakerSettings{Failures: 5, Window: plugins.Duration(time.Hour), Disable: "costly", Pause: plugins.Duration(10 * time.Minute)},
		Storm:   stormSettings{Window: plugins.Duration(time.Minute), Rule: 600, Tenant: 6000, Everywhere: 6000},
	}
}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return &analyzer{Instance: i, settings: s}, nil
}

func (s settings) check() error {
	var errs []error
	bad := func(name string, ok bool, got any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: is %v, want %s", name, got, want))
		}
	}
	bad("rules", s.Rules != "", `""`, "the name of a folder")
	s.History.check(bad)
	bad("alertEvents", s.AlertEvents >= 0 && s.AlertEvents <= 10_000, s.AlertEvents, "0 to 10000")
	bad("alertBytes", s.AlertBytes >= 0 && s.AlertBytes <= 2<<20, s.AlertBytes, "0 to 2097152 (2 MiB)")
	s.Breaker.check(bad)
	s.Storm.check(bad)
	bad("reload", s.Reload.D() >= 50*time.Millisecond, s.Reload, "50ms or more")
	return errors.Join(errs...)
}
