// Package notify is the bundled notification plugin that writes each message as
// one readable line to the node's log.
package notify

import (
	"fmt"

	"github.com/epmesh/epmesh/plugins"
)

// Settings are plugins.<name> in the configuration.
type Settings struct {
	// Topics are what the plugin is given; empty means all that plugins send.
	// The node reads it too: the engine's own topics come only if they are named.
	Topics []string `json:"topics"`
}

// Defaults are the settings where the configuration says nothing, as a Settings.
func Defaults() any { return Settings{} }

// posting are settings of webhook that are looked for here.
var posting = []string{"url", "headers", "headerFiles", "timeout", "attempts"}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	for _, name := range posting {
		if i.Config.Get(name).Exists() {
			return nil, fmt.Errorf("plugins.%s.%s: notify only writes to the log; to post messages to a URL use bundled: webhook", i.Name, name)
		}
	}
	var s Settings
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	return &notifier{Instance: i, Settings: s}, nil
}
