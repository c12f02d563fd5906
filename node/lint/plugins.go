package lint

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/epmesh/epmesh/config"
)

// plugins checks the names of plugins. Those that nobody has can only be told
// where a whole work dir is checked.
func (l *linter) plugins() {
	bundled := l.set.Bundled()
	if l.options.Bundled != nil {
		for _, name := range slices.Sorted(maps.Keys(bundled)) {
			if !slices.Contains(l.options.Bundled, bundled[name]) {
				l.find(config.RuleBadValue, l.set.At("plugins", name, "bundled").Position, didYouMean(bundled[name], "", l.options.Bundled), "plugins.%s.bundled: no plugin %q comes with epmesh", name, bundled[name])
			}
		}
	}
	if l.options.Settings != nil {
		for _, name := range slices.Sorted(maps.Keys(bundled)) {
			if !slices.Contains(l.options.Bundled, bundled[name]) {
				continue
			}
			if err := l.options.Settings(bundled[name], name); err != nil {
				for text := range strings.Lines(err.Error()) {
					l.find(badPluginSettings, l.set.KeyAt("plugins", name).Position, "", "%s", strings.TrimRight(text, "\n"))
				}
			}
		}
	}
	if l.options.Installed == nil {
		return
	}
	there := func(name string) bool { return bundled[name] != "" || l.options.Installed(name) }
	for _, of := range l.lines {
		for _, s := range of.steps {
			if name := s.Proto.GetDynamic().GetPlugin(); name != "" && !there(name) {
				l.find(unknownPlugin, s.At("plugin").Position, l.pluginHint(name), "no plugin %q is in the work dir", name)
			}
		}
	}
	for _, stage := range slices.Sorted(maps.Keys(l.set.Order)) {
		for i, name := range l.set.Order[stage] {
			if !there(name) {
				l.find(unknownPlugin, l.set.At("plugins", stage, "order", strconv.Itoa(i)).Position, l.pluginHint(name), "plugins.%s.order: no plugin %q is in the work dir", stage, name)
			}
		}
	}
}

func (l *linter) pluginHint(name string) string {
	if near := config.Suggest(name, slices.Sorted(maps.Keys(l.set.Bundled()))); near != "" && near != name {
		return `did you mean "` + near + `"?`
	}
	if slices.Contains(l.options.Bundled, name) {
		return "write plugins: {" + name + ": {bundled: " + name + "}}"
	}
	return "put " + name + ".plugin into the folder plugins, start it otherwise, or mend the name"
}
