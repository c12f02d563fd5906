package conform

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
)

// Input is the kind of the plugins that send logs; they have no socket, so
// package plugin has no name for it.
const Input = "input"

// Options say what is checked. Either Argv or Socket is set.
type Options struct {
	// Argv is the command that is the plugin.
	Argv []string
	// Dir is where it runs; empty means the work dir, as in a node.
	Dir string
	// Env is added to its environment.
	Env []string
	// Socket is the path of the socket of a plugin that runs.
	Socket string

	// File is the name that a node would start it under, that of its file;
	// "plugin" if empty.
	File string
	// Name is what the plugin is to be served as; empty takes the name of the
	// first socket that appears.
	Name string
	// Kind is what it is to be; empty takes all kinds that appear.
	Kind string
	// Prepare fills the work dir before the plugin starts; may be nil.
	Prepare func(workDir string) error
	// Params are those of the dynamic step that calls a parsing plugin.
	Params map[string]any
	// Sample is the usual item as JSON: a draft, an Event, an Alert or a
	// Message. Empty takes one that is made up.
	Sample []byte
	// Feed is a shell command that makes an input plugin produce logs. It runs
	// beside the plugin, with its environment, for as long as the plugin does.
	Feed string
	// Sequence finds in raw, as its first group, a number that rises by one from
	// log to log; what is missing at the end was lost.
	Sequence *regexp.Regexp

	// Only are the checks that are made, besides start, call and what comes with
	// them; empty: all.
	Only []string

	// Start is how long the plugin may take until it serves; 10 s.
	Start time.Duration
	// Grace is what it has between SIGTERM and SIGKILL; 2 s, as in a node.
	Grace time.Duration
	// Call is how long one call may take; 10 s.
	Call time.Duration
	// Wait is how long an input plugin may take until its first log; 15 s.
	Wait time.Duration

	// Tell gets each result as soon as there is one; may be nil.
	Tell func(Result)
	// Output gets each line that the plugin writes, by several goroutines; may
	// be nil.
	Output func(plugin.Line)
}

// Checks are the names that Options.Only may hold.
var Checks = []string{
	"repeat", "unknown", "size", "concurrency", "cancel", "odd", "health", // of what is called
	"stall", "node-restart", "before-node", // of an input
	"restart", "stop",
}

// wants reports whether a check is to be made.
func (o *Options) wants(check string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, check) }

const (
	defaultStart = 10 * time.Second
	defaultGrace = 2 * time.Second
	defaultCall  = 10 * time.Second
	defaultWait  = 15 * time.Second
)

func (o *Options) setDefaults() error {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&o.Start, defaultStart}, {&o.Grace, defaultGrace}, {&o.Call, defaultCall}, {&o.Wait, defaultWait}} {
		if *d.v <= 0 {
			*d.v = d.d
		}
	}
	for _, name := range o.Only {
		if !slices.Contains(Checks, name) {
			return fmt.Errorf("there is no check %q; there are %s", name, strings.Join(Checks, ", "))
		}
	}
	if o.File == "" {
		o.File = "plugin"
	}
	if (o.Socket == "") == (len(o.Argv) == 0) {
		return errors.New("a command or a socket, one of them, is what can be checked")
	}
	if o.Name != "" {
		if err := plugin.CheckName(o.Name); err != nil {
			return err
		}
	}
	if o.Kind != "" && o.Kind != Input && !known(plugin.Kind(o.Kind)) {
		return fmt.Errorf("there is no kind %q; there are parsing, analysis, correlation, notification, output, input", o.Kind)
	}
	if o.Sequence != nil && o.Sequence.NumSubexp() < 1 {
		return fmt.Errorf("the sequence %s has no group: put the number in parentheses, such as n=([0-9]+)", o.Sequence)
	}
	return nil
}

func known(kind plugin.Kind) bool {
	for _, k := range plugin.Kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// SocketKind tells what the plugin at a socket is by the socket's name.
func SocketKind(path string) (kind plugin.Kind, name string, err error) {
	base := filepath.Base(path)
	if base == engineSocket {
		return "", "", fmt.Errorf("%s is the node's own socket: name that of a plugin, <name>_<kind>.sock", path)
	}
	kind, name, ok := plugin.ParseSocketName(base)
	if !ok {
		return "", "", fmt.Errorf("%s: a plugin's socket is named <name>_<kind>.sock, with the kind parsing, analysis, correlation, notification or output", base)
	}
	return kind, name, nil
}

// IsSocket reports whether there is a socket at path.
func IsSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}
