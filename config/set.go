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
	// Mesh is how nodes share the work.
	Mesh Mesh
	// Stamp tells the state of the files as they were read; see Watch.
	Stamp Stamp

	tenants  map[string]*pb.Tenant // by id
	disabled []Position            // of the items of DisabledRules, if kept
	places   map[string]Place      // of the mapping around patterns.<name> and plugins.<name>
}

// DisabledAt is where the i-th of DisabledRules stands. Only InspectPipelines
// knows.
func (s *Set) DisabledAt(i int) Position {
	if i < len(s.disabled) {
		return s.disabled[i]
	}
	return Position{}
}

// At is where a pattern or a plugin's settings stand, by "patterns" or
// "plugins", its name, and what lies below. Only InspectPipelines knows.
func (s *Set) At(outer, name string, path ...string) Place {
	return s.places[outer+"."+name].At(append([]string{name}, path...)...)
}

// KeyAt is At of the key itself.
func (s *Set) KeyAt(outer, name string) Place { return s.places[outer+"."+name].Key(name) }

// Pipeline is one pipeline and where it stands.
type Pipeline struct {
	Position  Position
	DataTypes []string
	Steps     []Step
	// Partial tells that the file has errors, so that things may be missing.
	// Only InspectPipelines gives such pipelines.
	Partial bool

	place *Place
}

// At is where something in the pipeline stands, such as At("dataTypes", "0").
func (p Pipeline) At(path ...string) Place { return placeIn(p.place, p.Position, path) }

func placeIn(p *Place, whole Position, path []string) Place {
	if p == nil {
		return Place{Position: whole}
	}
	return p.At(path...)
}

// Step is one step of a pipeline and where it stands. Exactly one field of
// Proto is set.
type Step struct {
	Position Position
	Kind     string // json, rename, ...
	Proto    *pb.Step

	place *Place
}

// At is where something in the step stands, below its kind, such as
// At("patterns", "0", "pattern").
func (s Step) At(path ...string) Place {
	return placeIn(s.place, s.Position, append([]string{s.Kind}, path...))
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
