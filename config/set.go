package config

import (
	"maps"
	"slices"

	pb "github.com/epmesh/epmesh/proto"
)

// Set is what all files below WORK_DIR/pipeline say together, checked. It is
// not changed after Load, so it may be read by many at once.
type Set struct {
	Pipelines     []Pipeline
	Patterns      map[string]string
	Tenants       []*pb.Tenant
	DisabledRules []uint64
	// Plugins holds each plugin's own settings as decoded values (maps with
	// string keys, slices, strings, float64, bool, nil).
	Plugins map[string]any
	// Order lists the plugins of the analysis, correlation and notification
	// stages, and of "output".
	Order map[string][]string
	// Stamp tells the state of the files as they were read; see Watch.
	Stamp Stamp

	tenants map[string]*pb.Tenant // by id
}

// Pipeline is one pipeline and where it stands.
type Pipeline struct {
	Position  Position
	DataTypes []string
	Steps     []Step
}

// Step is one step of a pipeline and where it stands. Exactly one field of
// Proto is set.
type Step struct {
	Position Position
	Kind     string // json, rename, ...
	Proto    *pb.Step
}

// stages are the keys of plugins that hold no plugin's settings but a stage's
// order.
var stages = []string{"analysis", "correlation", "notification", "output"}

// PluginSettings is what plugins.<name> says: nil where it says nothing.
func (s *Set) PluginSettings(name string) any { return s.Plugins[name] }

// Bundled maps the name that a plugin is served under to the bundled plugin
// that does it: plugins.<name>.bundled.
func (s *Set) Bundled() map[string]string {
	out := make(map[string]string)
	for name := range s.Plugins {
		if bundled, _ := s.pluginKey(name, "bundled").(string); bundled != "" {
			out[name] = bundled
		}
	}
	return out
}

// Topics are the topics of messages that a notification plugin wants:
// plugins.<name>.topics. None means that it did not say.
func (s *Set) Topics(name string) []string {
	return texts(s.pluginKey(name, "topics"))
}

func (s *Set) pluginKey(name, key string) any {
	settings, _ := s.Plugins[name].(map[string]any)
	return settings[key]
}

// DynamicPlugins names the plugins that dynamic steps call, sorted.
func (s *Set) DynamicPlugins() []string {
	plugins := make(map[string]bool)
	for _, p := range s.Pipelines {
		for _, step := range p.Steps {
			if name := step.Proto.GetDynamic().GetPlugin(); name != "" {
				plugins[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(plugins))
}

// Tenant finds a tenant by id. Of several with one id it is the first.
func (s *Set) Tenant(id string) (*pb.Tenant, bool) {
	t, ok := s.tenants[id]
	return t, ok
}
