package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

// Instance is one plugin as it runs under one name: what a plugin is made from
// that the binary of the node brings along. The same plugin may run under
// several names, each with settings of its own.
type Instance struct {
	// Name is the name it is served under, and of its settings.
	Name string
	// Dir is the work dir.
	Dir string
	// Host is the name of the machine.
	Host string
	// Logger writes to the node's log.
	Logger hclog.Logger
	// Config is plugins.<Name>.
	Config gjson.Result
	// Stdin is standard input, for plugins that read it.
	Stdin io.Reader
}

// Runner is a plugin that was made and checked. Run works until ctx ends and
// returns nil then; it is called once.
type Runner interface {
	Run(ctx context.Context) error
}

// nodeSettings are the keys of plugins.<name> that the node reads, not the
// plugin.
var nodeSettings = []string{"bundled", "order", "env", "args", "disabled"}

// Settings decodes the plugin's settings into a struct with json tags, which
// holds the defaults. A key that the struct does not have and a value of the
// wrong kind are errors that name the setting.
func (i Instance) Settings(into any) error { return decodeSettings(i.Name, i.Config, into) }

func decodeSettings(name string, config gjson.Result, into any) error {
	values := map[string]json.RawMessage{}
	if config.Exists() && config.Type != gjson.Null {
		if err := json.Unmarshal([]byte(config.Raw), &values); err != nil {
			return fmt.Errorf("plugins.%s: want a mapping of settings", name)
		}
	}
	for _, key := range nodeSettings {
		delete(values, key)
	}
	text, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("plugins.%s: %w", name, err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("plugins.%s%w", name, settingError(err, into))
	}
	return nil
}

// settingError says what encoding/json found in the words of the settings. Its
// text goes on after the plugin's name.
func settingError(err error, into any) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf(".%s: is a %s, want %s", wrong.Field, wrong.Value, kindName(wrong.Type))
	}
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf(": unknown setting %s; known at the top: %s", key, strings.Join(settingNames(into), ", "))
	}
	return fmt.Errorf(": %w", err)
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return "a whole number"
	}
	return "a number"
}

func settingNames(into any) []string {
	t := reflect.TypeOf(into).Elem()
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Sender is how this instance sends to its node.
func (i Instance) Sender() SenderOptions {
	return SenderOptions{Name: i.Name, Dir: i.Dir, Logger: i.Logger}
}

// Duration is a setting such as "30s" or "5m".
type Duration time.Duration

// UnmarshalJSON takes a Go duration as text.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("%s is no duration: write it as text with a unit, such as \"30s\"", b)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is no duration: write a number with a unit, such as \"30s\" or \"5m\"", text)
	}
	*d = Duration(v)
	return nil
}

// D is the duration as the standard library has it.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }
