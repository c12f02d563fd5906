package config

import (
	"slices"
	"strings"
)

// Mesh is what the files say of how nodes share the work. It is the only outer
// key of pipeline files that the contract does not have; plugins that read the
// files pass over it.
type Mesh struct {
	// Place restricts which nodes take which work. All rules that match some
	// work hold for it together, so their order means nothing.
	Place []Placement
	// Affinity says, by the plugin's name, which items have to meet at one
	// instance of a plugin.
	Affinity map[string]Affinity
	// Singletons are plugins that run on one node of the mesh at a time, sorted.
	Singletons []string
}

// Placement is one rule of mesh.place: work that has all of what it names goes
// to nodes of its groups only. At least one of the four is given.
type Placement struct {
	Position Position

	Stage    string // of MeshStages, or "" for all
	Plugin   string // "" for all
	DataType string // "" for all
	Tenant   string // a tenant's id, "" for all
	Groups   []string
}

// Slice reports whether the rule is about a part of a stage's items, not about
// all of them.
func (p Placement) Slice() bool { return p.DataType != "" || p.Tenant != "" }

// Admits reports whether a node of these groups may take what the rule is about.
func (p Placement) Admits(groups []string) bool {
	return slices.ContainsFunc(p.Groups, func(g string) bool { return slices.Contains(groups, g) })
}

// Affinity says by which key a plugin's items are told apart: those with one key
// go to one instance of the plugin at a time, in order.
type Affinity struct {
	Position Position

	// Key is the dotted path of a field, or an expression in CEL.
	Key string
	// Partitions is how many parts the keys are divided into: at most so many
	// instances share the work. 0: not given.
	Partitions int
}

// MeshStages are the stages that a placement can name. Parsing plugins belong
// to parse, as the drafts do that wait for them.
var MeshStages = []string{"parse", "analysis", "correlation", "notification", "output"}

const (
	maxGroup      = 64
	maxPartitions = 4096
)

// MayRun reports whether a plugin that the node itself starts is to run on a
// node of these groups: whether no rule about the plugin alone keeps it away.
func (m Mesh) MayRun(plugin string, groups []string) bool {
	return !slices.ContainsFunc(m.Place, func(p Placement) bool {
		return p.Plugin == plugin && !p.Slice() && !p.Admits(groups)
	})
}

// MayTake reports whether a node of these groups may take items of a stage and
// plugin ("" for a stage's own work), as far as rules that are not about a part
// of the items say.
func (m Mesh) MayTake(stage, plugin string, groups []string) bool {
	return !slices.ContainsFunc(m.Place, func(p Placement) bool {
		return !p.Slice() && p.About(stage, plugin) && !p.Admits(groups)
	})
}

// About reports whether the rule is about work of a stage and plugin.
func (p Placement) About(stage, plugin string) bool {
	return (p.Stage == "" || p.Stage == stage) && (p.Plugin == "" || p.Plugin == plugin)
}

// Slices are the rules about a part of the items of a stage and plugin.
func (m Mesh) Slices(stage, plugin string) []Placement {
	if stage == "notification" {
		return nil // messages have no tenant and no data type
	}
	return slices.DeleteFunc(slices.Clone(m.Place), func(p Placement) bool { return !p.Slice() || !p.About(stage, plugin) })
}

// addMesh adds what a file says to the set.
func (b *builder) addMesh(m *Mesh, d *decoder) {
	s := &b.set.Mesh
	s.Place = append(s.Place, m.Place...)
	for name, a := range m.Affinity {
		if have, twice := s.Affinity[name]; twice && (have.Key != a.Key || have.Partitions != a.Partitions) {
			d.add(RuleReplacedKey, Warning, a.Position.Line, a.Position.Column, "give it in one file", "mesh.affinity.%s replaces what %s says", name, have.Position)
		}
		if s.Affinity == nil {
			s.Affinity = make(map[string]Affinity)
		}
		s.Affinity[name] = a
	}
	for _, name := range m.Singletons {
		if !slices.Contains(s.Singletons, name) {
			s.Singletons = append(s.Singletons, name)
		}
	}
	slices.Sort(s.Singletons)
}

// checkMesh warns of rules for plugins that nothing goes to. An input is named
// nowhere else, so nothing can be said of singletons.
func (b *builder) checkMesh() {
	called := b.set.DynamicPlugins()
	for _, stage := range stages {
		called = append(called, b.set.Order[stage]...)
	}
	slices.Sort(called)
	called = slices.Compact(called)
	warn := func(at Position, what, name, hint string) {
		if k := Suggest(name, called); k != "" {
			hint = `did you mean "` + k + `"?`
		}
		b.report = append(b.report, Problem{
			Position: at, Severity: Warning, Rule: RuleBadValue, Hint: hint,
			Message: what + ": no stage has a plugin " + `"` + name + `"`,
		})
	}
	for _, p := range b.set.Mesh.Place {
		if _, affine := b.set.Mesh.Affinity[p.Plugin]; p.Slice() && affine && p.Stage != "parse" {
			b.report = append(b.report, Problem{
				Position: p.Position, Severity: Error, Rule: RuleBadValue,
				Hint:    "place it by stage and plugin, or take its affinity out",
				Message: "mesh.place: " + `"` + p.Plugin + `" has an affinity, and its items cannot be placed by dataType or tenant too`,
			})
		} else if p.Slice() && p.Plugin == "" {
			for _, name := range b.affine(p.Stage) {
				b.report = append(b.report, Problem{
					Position: p.Position, Severity: Warning, Rule: RuleIgnoredKey,
					Hint:    "place it by stage and plugin, or take its affinity out",
					Message: "mesh.place: " + `"` + name + `" has an affinity, so the rule is not acted on for its items: any node takes them`,
				})
			}
		}
		if _, started := b.set.Plugins[p.Plugin]; p.Plugin != "" && !started && !slices.Contains(called, p.Plugin) {
			warn(p.Position, "mesh.place", p.Plugin, "list it in plugins.<stage>.order, or name it in a dynamic step")
		}
	}
	var affine []string
	for name := range b.set.Mesh.Affinity {
		affine = append(affine, name)
	}
	slices.Sort(affine)
	for _, name := range affine {
		if !slices.Contains(called, name) {
			warn(b.set.Mesh.Affinity[name].Position, "mesh.affinity", name, "list it in plugins.<stage>.order, or name it in a dynamic step")
		}
	}
}

// affine are the plugins of a stage ("" for all) whose affinity is acted on, sorted.
func (b *builder) affine(stage string) []string {
	var names []string
	for _, s := range []string{"analysis", "correlation", "output"} {
		for _, name := range b.set.Order[s] {
			if _, ok := b.set.Mesh.Affinity[name]; ok && (stage == "" || stage == s) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// validGroup tells whether NODE_GROUPS, a list with commas, can hold the name.
func validGroup(name string) bool {
	return name != "" && len(name) <= maxGroup && strings.TrimSpace(name) == name && !strings.ContainsAny(name, ",\r\n\x00")
}
