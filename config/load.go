package config

import (
	"reflect"
	"slices"
	"strconv"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Load reads every file whose name ends in .yaml below a pipeline folder
// (WORK_DIR/pipeline), in natural order of the base names across folders.
// Pipelines, disabled rules, tenants, placements and singletons add up over the
// files; patterns, plugins and affinities are merged by key, where a later file
// wins.
//
// A file with errors counts as a whole as not there. The set is never nil: it
// says what the other files say. A node that has a set already keeps it if the
// report has errors (Report.Err).
func Load(dir string) (*Set, Report) {
	l := list(dir)
	b := newBuilder()
	b.set.Stamp = l.stamp()
	for _, f := range l.files {
		if data, ok := l.read(f.path); ok {
			b.file(f.path, data)
		}
	}
	b.finish()
	return b.set, append(l.report, b.report...)
}

// Parse reads one pipeline file's text as Load does; name stands in positions.
func Parse(name string, data []byte) (*Set, Report) {
	b := newBuilder()
	b.file(name, data)
	b.finish()
	return b.set, b.report
}

// builder puts a Set together from files.
type builder struct {
	set    *Set
	report Report
	// patterns and plugins are where each key of the set was given.
	patterns, plugins map[string]*decoder
	keep              bool // see InspectPipelines
}

func newBuilder() *builder {
	return &builder{
		set: &Set{
			Patterns: make(map[string]string),
			Plugins:  make(map[string]any),
			Order:    make(map[string][]string),
			tenants:  make(map[string]*pb.Tenant),
		},
		patterns: make(map[string]*decoder),
		plugins:  make(map[string]*decoder),
	}
}

func (b *builder) file(name string, data []byte) {
	d := newDecoder(name)
	if b.keep {
		d.keep(data)
	}
	cfg := d.config(data)
	d.checkPipelines(cfg)
	settings := make(map[string]any, len(cfg.Plugins))
	for name, v := range cfg.Plugins {
		settings[name] = v.AsInterface()
		d.checkPlugin(name, settings[name])
	}
	if !d.failed || b.keep {
		b.merge(cfg, settings, d)
	}
	b.report = append(b.report, d.sorted()...)
}

// merge adds a file without errors to the set.
func (b *builder) merge(cfg *pb.Config, settings map[string]any, d *decoder) {
	s := b.set
	b.addMesh(&d.mesh, d)
	for _, p := range cfg.Pipeline {
		pipeline := Pipeline{Position: d.at[p], DataTypes: p.DataTypes, Steps: make([]Step, len(p.Steps)), Partial: d.failed, place: d.placeOf(p)}
		for i, step := range p.Steps {
			pipeline.Steps[i] = Step{Position: d.at[step], Kind: kindOfStep(step), Proto: step, place: d.placeOf(step)}
		}
		s.Pipelines = append(s.Pipelines, pipeline)
	}
	s.DisabledRules = append(s.DisabledRules, cfg.DisabledRules...)
	if b.keep && d.root != nil {
		for i := range cfg.DisabledRules {
			s.disabled = append(s.disabled, d.source.place(d.root).At("disabledRules", strconv.Itoa(i)).Position)
		}
	}
	for _, t := range cfg.Tenants {
		s.Tenants = append(s.Tenants, t)
		at := d.at[t]
		if _, twice := s.tenants[t.Id]; twice {
			d.add(RuleBadTenant, Warning, at.Line, at.Column, "give each tenant once, with its own id", "tenant id %q is given before; of tenants with one id the first counts", t.Id)
			continue
		}
		s.tenants[t.Id] = t
	}
	for name, pattern := range cfg.Patterns {
		if from := b.patterns[name]; from != nil && s.Patterns[name] != pattern {
			d.replaced("patterns."+name, from)
		}
		s.Patterns[name], b.patterns[name] = pattern, d
		b.locate("patterns", name, d)
	}
	for name, v := range settings {
		if from := b.plugins[name]; from != nil && !reflect.DeepEqual(s.Plugins[name], v) {
			d.replaced("plugins."+name, from)
		}
		s.Plugins[name], b.plugins[name] = v, d
		b.locate("plugins", name, d)
	}
}

// locate notes where a key of the file's outer mappings stands.
func (b *builder) locate(outer, name string, d *decoder) {
	if !b.keep {
		return
	}
	if b.set.places == nil {
		b.set.places = make(map[string]Place)
	}
	b.set.places[outer+"."+name] = d.source.place(d.root).At(outer)
}

// replaced warns of a key that an earlier file gave another value: the
// reference engine does not merge within it.
func (d *decoder) replaced(path string, from *decoder) {
	at := d.place[path]
	d.add(RuleReplacedKey, Warning, at.Line, at.Column, "give it in one file", "%s replaces as a whole what %s says", path, from.place[path])
}

// finish checks what only all files together tell.
func (b *builder) finish() {
	for _, stage := range stages {
		for _, name := range texts(b.set.pluginKey(stage, "order")) {
			if !slices.Contains(b.set.Order[stage], name) {
				b.set.Order[stage] = append(b.set.Order[stage], name)
			}
		}
	}
	b.checkMesh()
	for _, name := range b.set.Order["notification"] {
		topics := b.set.pluginKey(name, "topics")
		if list, ok := topics.([]any); topics != nil && (!ok || len(texts(list)) != len(list)) {
			b.report = append(b.report, Problem{
				Position: b.plugins[name].place["plugins."+name+".topics"],
				Severity: Warning,
				Rule:     RuleWrongType,
				Message:  "plugins." + name + ".topics is not a list of topics; the node takes it as given for the plugin alone",
				Hint:     "write topics: [parsing_dropped]",
			})
		}
	}
}

func kindOfStep(step *pb.Step) (kind string) {
	step.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		kind = fd.JSONName()
		return false
	})
	return kind
}

// texts are the non-empty texts of a list.
func texts(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok && s != "" {
			out = append(out, s)
		}
	}
	return out
}
