package bundled

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
)

// Every plugin has a page with each of its settings, the defaults they really
// have, and an example that the plugin takes.
func TestPages(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "..", "docs", "plugins", name+".md"))
			if err != nil {
				t.Fatal(err)
			}
			rows := tableRows(string(text))
			for _, s := range settingsOf(reflect.ValueOf(register[name].defaults()), "") {
				got, ok := rows[s.path]
				switch {
				case !ok:
					t.Errorf("no row of a table begins with `%s`", s.path)
				case s.value != "" && !strings.Contains(got, "`"+s.value+"`"):
					t.Errorf("`%s`: the default is `%s`, the page says %s", s.path, s.value, got)
				}
			}
			example(t, name, string(text))
		})
	}
}

// tableRows are the second cells of table rows, by each name in backquotes in the
// first; the first row that has it counts.
func tableRows(page string) map[string]string {
	rows := map[string]string{}
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 4 || cells[0] != "" {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			if _, ok := rows[m[1]]; !ok {
				rows[m[1]] = cells[2]
			}
		}
	}
	return rows
}

type setting struct{ path, value string }

// settingsOf walks a struct of settings. A value that is empty, or that only this
// machine has, is no default to be named.
func settingsOf(v reflect.Value, prefix string) (list []setting) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			v = reflect.Zero(v.Type().Elem())
			continue
		}
		v = v.Elem()
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		value := v.Field(i)
		if f.Anonymous && tag == "" {
			list = append(list, settingsOf(value, prefix)...)
			continue
		}
		if tag == "" || tag == "-" {
			continue
		}
		path := prefix + tag
		kind := f.Type
		for kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		element := kind
		if kind.Kind() == reflect.Slice || kind.Kind() == reflect.Map {
			if element = kind.Elem(); element.Kind() == reflect.Pointer {
				element = element.Elem()
			}
		}
		switch {
		case isText(kind):
			list = append(list, setting{path, textOf(value)})
		case kind.Kind() == reflect.Struct:
			list = append(list, settingsOf(value, path+".")...)
		case kind != element && element.Kind() == reflect.Struct && !isText(element):
			list = append(list, setting{path: path})
			list = append(list, settingsOf(reflect.Zero(element), path+"[].")...)
		default:
			list = append(list, setting{path, textOf(value)})
		}
	}
	return list
}

// isText reports whether a type is written as one value, whatever it is made of.
func isText(t reflect.Type) bool {
	unmarshaler := reflect.TypeFor[json.Unmarshaler]()
	return t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler)
}

func textOf(v reflect.Value) string {
	if v.IsZero() || v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Kind() == reflect.Pointer {
		return ""
	}
	text := fmt.Sprint(v.Interface())
	if _, ok := v.Interface().(plugins.Duration); ok { // 1h0m0s is written 1h
		for _, zero := range []string{"m0s", "h0m"} {
			if short, ok := strings.CutSuffix(text, zero); ok {
				text = short + zero[:1]
			}
		}
	}
	return text
}

// example checks the page's first example with the plugin itself.
func example(t *testing.T, name, page string) {
	_, rest, ok := strings.Cut(page, "```yaml\nplugins:\n")
	text, _, closed := strings.Cut("plugins:\n"+rest, "\n```")
	if !ok || !closed {
		t.Fatal("no example: a block ```yaml that begins with plugins:")
	}
	set, report := config.Parse("example.yaml", []byte(text))
	if len(report) > 0 {
		t.Fatal(report)
	}
	dir := shortdir.New(t)
	write(t, dir, text)
	found := false
	for served := range set.Plugins {
		settings := plugins.SettingsOf(set, served)
		if settings.Get("bundled").String() != name {
			continue
		}
		found = true
		if err := Check(name, served, dir); err != nil {
			t.Errorf("the example: %v", err)
		}
	}
	if !found {
		t.Errorf("the example has no plugin with bundled: %s", name)
	}
}
