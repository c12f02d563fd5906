// Package incidents is the bundled correlation plugin: it groups alerts by their
// source into incidents, leaves equal alerts out, and sends one message for each
// alert that is left on the topic "incidents".
//
// What it knows is in memory: after a restart an incident begins anew. The id of
// a message derives from its alert, so an alert that comes again gives no second
// message.
package incidents

import (
	"errors"
	"fmt"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// Topic is what the plugin's messages are sent on.
const Topic = "incidents"

// settings are plugins.<name> in the configuration.
type settings struct {
	Topic string `json:"topic"`
	// DeduplicateFor is how long an alert keeps equal ones away.
	DeduplicateFor plugins.Duration `json:"deduplicateFor"`
	// CloseAfter is how long an incident may be quiet before the next alert of
	// its source opens another.
	CloseAfter plugins.Duration `json:"closeAfter"`
	// MaxKept bounds alerts and incidents that are remembered; the oldest are
	// forgotten.
	MaxKept int `json:"maxKept"`
}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := settings{
		Topic: Topic, DeduplicateFor: plugins.Duration(7 * 24 * time.Hour),
		CloseAfter: plugins.Duration(24 * time.Hour), MaxKept: 50_000,
	}
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	var errs []error
	if s.Topic == "" {
		errs = append(errs, errors.New("topic: may not be empty"))
	}
	if s.DeduplicateFor < 0 {
		errs = append(errs, fmt.Errorf("deduplicateFor: is %s, want 0s or more", s.DeduplicateFor))
	}
	if s.CloseAfter <= 0 {
		errs = append(errs, fmt.Errorf("closeAfter: is %s, want more than 0s", s.CloseAfter))
	}
	if s.MaxKept < 1 {
		errs = append(errs, fmt.Errorf("maxKept: is %d, want 1 or more", s.MaxKept))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return &correlator{Instance: i, settings: s}, nil
}
