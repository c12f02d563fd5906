// Package bundled is the register of the plugins that come with the binary.
// Each runs as a process of its own and speaks only the plugin contract.
package bundled

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/archive"
	"github.com/epmesh/epmesh/plugins/cel"
	"github.com/epmesh/epmesh/plugins/demo"
	"github.com/epmesh/epmesh/plugins/email"
	"github.com/epmesh/epmesh/plugins/file"
	"github.com/epmesh/epmesh/plugins/geolocation"
	httpin "github.com/epmesh/epmesh/plugins/http"
	"github.com/epmesh/epmesh/plugins/incidents"
	"github.com/epmesh/epmesh/plugins/notify"
	"github.com/epmesh/epmesh/plugins/syslog"
	"github.com/epmesh/epmesh/plugins/webhook"
	"github.com/hashicorp/go-hclog"
)

// Info tells what a bundled plugin is.
type Info struct {
	Name  string
	Kind  string // input, parsing, analysis, correlation, notification, output
	About string

	make     func(plugins.Instance) (plugins.Runner, error)
	defaults func() any // its settings where nothing is said
}

var register = map[string]Info{
	"file":        {Kind: "input", About: "reads lines from files and standard input", make: file.New, defaults: file.Defaults},
	"http":        {Kind: "input", About: "takes logs over HTTP: lines, JSON, OTLP", make: httpin.New, defaults: httpin.Defaults},
	"syslog":      {Kind: "input", About: "listens for syslog over UDP, TCP and TLS", make: syslog.New, defaults: syslog.Defaults},
	"demo":        {Kind: "input", About: "makes up traffic with attacks in it", make: demo.New, defaults: demo.Defaults},
	"geolocation": {Kind: "parsing", About: "adds to an address where it is and whose", make: geolocation.New, defaults: geolocation.Defaults},
	"cel":         {Kind: "analysis", About: "holds events against rules in CEL", make: cel.New, defaults: cel.Defaults},
	"incidents":   {Kind: "correlation", About: "groups alerts into incidents and sends a message for each", make: incidents.New, defaults: incidents.Defaults},
	"notify":      {Kind: "notification", About: "writes messages to the log", make: notify.New, defaults: notify.Defaults},
	"webhook":     {Kind: "notification", About: "posts messages to a URL, Slack or Teams", make: webhook.New, defaults: webhook.Defaults},
	"email":       {Kind: "notification", About: "mails messages, each or in a digest", make: email.New, defaults: email.Defaults},
	"archive":     {Kind: "output", About: "keeps events and alerts in compressed files", make: archive.New, defaults: archive.Defaults},
}

// Names are the bundled plugins, sorted.
func Names() []string { return slices.Sorted(maps.Keys(register)) }

// Lookup tells about a bundled plugin.
func Lookup(name string) (Info, bool) {
	info, ok := register[name]
	info.Name = name
	return info, ok
}

// ErrUnknown is wrapped by errors about names that no bundled plugin has.
var ErrUnknown = errors.New("no such bundled plugin")

// Check says what is wrong with the settings that a plugin is given under
// servedName, without running it.
func Check(name, servedName, dir string) error {
	_, err := build(name, instance(servedName, dir, hclog.NewNullLogger()))
	return err
}

// watchEvery is the pause between two looks at the settings.
const watchEvery = 2 * time.Second

// Run runs a bundled plugin under servedName, with WORK_DIR of the environment
// and its settings from plugins.<servedName>, until ctx ends. When the settings
// change it goes on with the new ones; new ones with a mistake are logged and
// left, and it goes on as it was.
func Run(ctx context.Context, name, servedName string, logger hclog.Logger) error {
	return run(ctx, name, servedName, plugins.WorkDir, logger)
}

func run(ctx context.Context, name, servedName, dir string, logger hclog.Logger) error {
	servedName = cmp.Or(servedName, name)
	i := instance(servedName, dir, logger)
	r, err := build(name, i)
	if err != nil {
		return err
	}
	for {
		seen := i.Config.Raw
		gen, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- r.Run(gen) }()
		var next plugins.Runner
		for next == nil {
			timer := time.NewTimer(watchEvery)
			select {
			case err := <-ended:
				timer.Stop()
				stop()
				return err
			case <-timer.C:
			}
			now := instance(servedName, dir, logger)
			if now.Config.Raw == seen || ctx.Err() != nil {
				continue
			}
			seen = now.Config.Raw
			if next, err = build(name, now); err != nil {
				logger.Error("changed settings are not taken", "error", err)
				next = nil
				continue
			}
			i = now
		}
		logger.Info("settings have changed, starting anew with them")
		stop()
		if err := <-ended; err != nil || ctx.Err() != nil {
			return err
		}
		r = next
	}
}

func build(name string, i plugins.Instance) (plugins.Runner, error) {
	info, ok := register[name]
	if !ok {
		return nil, fmt.Errorf("%w: %q; there are %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	return info.make(i)
}

func instance(name, dir string, logger hclog.Logger) plugins.Instance {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return plugins.Instance{
		Name: name, Dir: dir, Host: host, Logger: logger, Stdin: os.Stdin,
		Config: plugins.SettingsOf(plugins.LoadConfig(dir), name),
	}
}
