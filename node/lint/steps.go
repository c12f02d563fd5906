package lint

import (
	"slices"
	"strconv"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// step is one step with what it does to fields.
type step struct {
	config.Step
	source string         // of where
	where  *expr.Analysis // nil: there is none, or it does not compile
	broken bool           // where does not compile, or can never be true; or the step cannot be run

	reads   []use
	writes  []use
	removes []use
	// log and all are set where it writes fields that it does not name, below
	// log or anywhere.
	log, all bool
}

// use is a field that a step names.
type use struct {
	path string
	at   config.Position
	// value is what is written, as far as that is known.
	value value
}

// unconditional reports whether the step does its work on a field whenever it is
// there.
func (s *step) unconditional(path string) bool {
	if s.broken {
		return false
	}
	return s.where == nil || s.where.AlwaysHolds() || path != "" && s.where.OnlyExists() == path
}

func (l *linter) newStep(configured config.Step) *step {
	s := &step{Step: configured}
	p := configured.Proto
	switch {
	case p.GetJson() != nil:
		s.source, s.log = p.GetJson().GetWhere(), true
		l.from(s, p.GetJson().GetSource())
	case p.GetXml() != nil:
		s.source, s.log = p.GetXml().GetWhere(), true
		l.from(s, p.GetXml().GetSource())
	case p.GetKv() != nil:
		s.source, s.log = p.GetKv().GetWhere(), true
		l.kv(s, p.GetKv())
	case p.GetCsv() != nil:
		s.source = p.GetCsv().GetWhere()
		l.csv(s, p.GetCsv())
	case p.GetGrok() != nil:
		s.source = p.GetGrok().GetWhere()
		l.grok(s, p.GetGrok())
	case p.GetRename() != nil:
		s.source = p.GetRename().GetWhere()
		l.rename(s, p.GetRename())
	case p.GetCast() != nil:
		s.source = p.GetCast().GetWhere()
		l.cast(s, p.GetCast())
	case p.GetTrim() != nil:
		s.source = p.GetTrim().GetWhere()
		l.trim(s, p.GetTrim())
	case p.GetReformat() != nil:
		s.source = p.GetReformat().GetWhere()
		l.reformat(s, p.GetReformat())
	case p.GetAdd() != nil:
		s.source = p.GetAdd().GetWhere()
		l.add(s, p.GetAdd())
	case p.GetDelete() != nil:
		s.source = p.GetDelete().GetWhere()
		l.remove(s, p.GetDelete())
	case p.GetDrop() != nil:
		s.source = p.GetDrop().GetWhere()
	case p.GetDynamic() != nil:
		s.source, s.all = p.GetDynamic().GetWhere(), true
		if p.GetDynamic().GetPlugin() == "" {
			l.missing(s, s.Position, "plugin", "write plugin: the name that the plugin's socket begins with")
		}
	}
	if strings.TrimSpace(s.source) != "" {
		s.where = l.condition(s.source, configured.At("where"))
		s.broken = s.where == nil || slices.ContainsFunc(s.where.Findings, func(f expr.Finding) bool { return f.Kind == expr.AlwaysFalse })
	}
	return s
}

// from notes the field that a step takes apart.
func (l *linter) from(s *step, name string) {
	if name == "" {
		name = "raw"
	}
	s.reads = append(s.reads, use{path: name, at: s.At("source").Position})
}

// missing says that a step lacks a setting, unless it has one that cannot be
// read: that is told already.
func (l *linter) missing(s *step, at config.Position, key, hint string) {
	given := s.At(key).Position
	if slices.ContainsFunc(l.report, func(p config.Problem) bool { return p.Rule == config.RuleWrongType && p.Position == given }) {
		s.broken = true
		l.steps[s.Position.String()] = true
		return
	}
	l.find(missingSetting, at, hint, "%s: %s is not set", s.Kind, key)
}

// target notes a field that a step writes by name, if it can.
func (l *linter) target(s *step, name string, at config.Position, v value) {
	written := l.clean(name)
	switch {
	case reserved(name) || reserved(written):
		l.find(reservedField, at, "write another field", "%q cannot be written", name)
	case strings.Trim(written, ".") == "" || strings.Contains("."+written+".", ".."):
		l.find(badFieldName, at, "write parts of letters and digits with dots between", "%q is no name of a field", name)
	default:
		if written != name {
			l.find(changedName, at, "write it so, and read it so", "%q is written as %q", name, written)
		}
		s.writes = append(s.writes, use{written, at, v})
	}
}

// inPlace notes the fields that a step changes where they are.
func (l *linter) inPlace(s *step, names []string, v value) {
	if len(names) == 0 {
		l.missing(s, s.Position, "fields", "write fields: [name of a field]")
	}
	seen := map[string]bool{}
	for i, name := range names {
		at := s.At("fields", strconv.Itoa(i)).Position
		switch {
		case name == "":
			l.find(noEffect, at, "remove it", "%s: the name of the field is empty", s.Kind)
			continue
		case reserved(name):
			l.find(reservedField, at, "rename a copy first", "%q cannot be written", name)
			continue
		case tree.ParsePath(name).Special():
			l.find(badFieldName, at, "", "%q cannot be written: a path with wildcards or queries can only be read", name)
			continue
		case seen[name]:
			l.find(config.RuleDuplicateValue, at, "remove one of them", "%s: %q is listed before", s.Kind, name)
			continue
		}
		seen[name] = true
		s.reads = append(s.reads, use{path: name, at: at})
		s.writes = append(s.writes, use{name, at, v})
	}
}

func (l *linter) kv(s *step, p *pb.Kv) {
	l.from(s, p.GetSource())
	for name, value := range map[string]string{"fieldSplit": p.GetFieldSplit(), "valueSplit": p.GetValueSplit()} {
		if value == "" {
			l.missing(s, s.At(name).Position, name, "")
		}
	}
	if p.GetFieldSplit() != "" && p.GetFieldSplit() == p.GetValueSplit() {
		l.find(noEffect, s.At("valueSplit").Position, "", "kv: with fieldSplit and valueSplit alike there are no pairs")
	}
}

func (l *linter) csv(s *step, p *pb.Csv) {
	l.from(s, p.GetSource())
	if len(p.GetHeaders()) == 0 {
		l.missing(s, s.Position, "headers", "write headers: [a field for each column]")
	}
	for i, name := range p.GetHeaders() {
		l.target(s, name, s.At("headers", strconv.Itoa(i)).Position, value{kind: textValue})
	}
}

// repeated finds fields that one step writes twice, but for those that are
// deleted in the end: they take what is of no use.
func (l *linter) repeated(of *line, s *step) {
	seen := map[string]bool{}
	for _, w := range s.writes {
		if seen[w.path] && !of.deletes(w.path) {
			hint := ""
			if s.Kind == "grok" {
				hint = `leave fieldName out to match and discard`
			}
			l.find(repeatedField, w.at, hint, "%s: %s is written before by this step; the last wins", s.Kind, w.path)
		}
		seen[w.path] = true
	}
}

// deletes reports whether some step deletes a path.
func (of *line) deletes(path string) bool {
	return slices.ContainsFunc(of.steps, func(s *step) bool {
		return s.Kind == "delete" && slices.ContainsFunc(s.removes, func(r use) bool { return within(path, r.path) })
	})
}

func (l *linter) rename(s *step, p *pb.Rename) {
	if p.GetTo() == "" {
		l.missing(s, s.At("to").Position, "to", "write to: the new name")
	} else {
		l.target(s, p.GetTo(), s.At("to").Position, value{})
	}
	if len(p.GetFrom()) == 0 {
		l.missing(s, s.Position, "from", "write from: [the old name]")
	}
	for i, name := range p.GetFrom() {
		at := s.At("from", strconv.Itoa(i)).Position
		switch {
		case name == "":
			l.find(noEffect, at, "remove it", "rename: the name of the field is empty")
		case tree.ParsePath(name).Special():
			l.find(badFieldName, at, "", "%q cannot be moved: a path with wildcards or queries can only be read", name)
		default:
			if to := l.clean(p.GetTo()); to == name || strings.HasPrefix(to, name+".") {
				hint := "remove the step"
				if to != name {
					hint = "rename it to what is not below its own name"
				}
				l.find(renamedToItself, at, hint, "rename: %s is written to %s and then deleted, with what was written", name, to)
			}
			s.reads = append(s.reads, use{path: name, at: at})
			if !reserved(name) {
				s.removes = append(s.removes, use{path: name, at: at})
			}
		}
	}
}

var castTypes = []string{"int", "float", "string", "bool", "[]string"}

func (l *linter) cast(s *step, p *pb.Cast) {
	if !slices.Contains(castTypes, p.GetTo()) {
		near := map[string]string{
			"integer": "int", "int64": "int", "int32": "int", "uint": "int", "uint32": "int", "long": "int", "number": "float", "double": "float", "float64": "float",
			"text": "string", "str": "string", "boolean": "bool", "list": "[]string", "array": "[]string", "string[]": "[]string",
		}[strings.ToLower(p.GetTo())]
		l.find(config.RuleBadValue, s.At("to").Position, didYouMean(p.GetTo(), near, castTypes), "cast: %q is no type to cast to", p.GetTo())
	}
	l.inPlace(s, p.GetFields(), castValue(p.GetTo()))
}

// didYouMean is the hint for a value that is none of the known.
func didYouMean(name, near string, known []string) string {
	if near == "" {
		near = config.Suggest(name, known)
	}
	if near != "" {
		return `did you mean "` + near + `"?`
	}
	return "known here: " + strings.Join(known, ", ")
}

var trimFunctions = []string{"prefix", "suffix", "substring", "regex"}

func (l *linter) trim(s *step, p *pb.Trim) {
	l.inPlace(s, p.GetFields(), value{kind: textValue})
	at, text := s.At("substring"), p.GetSubstring()
	switch function := p.GetFunction(); {
	case !slices.Contains(trimFunctions, function):
		l.find(config.RuleBadValue, s.At("function").Position, didYouMean(function, "", trimFunctions), "trim: %q is no function of trim", function)
	case text == "":
		l.find(noEffect, at.Position, "write substring: what is to be removed", "trim: without substring only the white space around is removed")
	case function == "regex":
		l.regexp(text, at, "trim: ")
	case function == "prefix" && strings.TrimLeft(text, " \t") != text, function == "suffix" && strings.TrimRight(text, " \t") != text:
		l.find(neverMatches, at.Position, "leave the white space out", "trim: the white space around the text is removed first, so that no text has this %s", function)
	}
}

func (l *linter) reformat(s *step, p *pb.Reformat) {
	l.inPlace(s, p.GetFields(), value{kind: textValue})
	if p.GetFunction() != "time" {
		l.find(config.RuleBadValue, s.At("function").Position, `write function: time`, "reformat: %q is no function of reformat", p.GetFunction())
	}
	l.layout(s, "fromFormat", p.GetFromFormat())
	l.layout(s, "toFormat", p.GetToFormat())
}

func (l *linter) add(s *step, p *pb.Add) {
	if p.GetFunction() != "string" {
		l.find(config.RuleBadValue, s.At("function").Position, `write function: string`, "add: %q is no function of add", p.GetFunction())
	}
	params := s.At("params")
	for name := range p.GetParams() {
		if name != "key" && name != "value" {
			l.find(config.RuleUnknownKey, params.Key(name).Position, didYouMean(name, "", []string{"key", "value"}), "add: unknown key %q is ignored", name)
		}
	}
	var v value
	if given, ok := p.GetParams()["value"]; !ok {
		l.find(missingSetting, params.Position, "write value: the text", "add: params.value is not set")
	} else if text, ok := given.GetKind().(*structpb.Value_StringValue); ok {
		v = value{kind: constantValue, text: text.StringValue}
	} else {
		v = value{kind: textValue, number: true}
	}
	switch key := p.GetParams()["key"].GetKind().(type) {
	case *structpb.Value_StringValue:
		l.target(s, key.StringValue, params.At("key").Position, v)
	case nil:
		l.find(missingSetting, params.Position, "write key: the name of the field", "add: params.key is not set")
	default:
		l.find(config.RuleWrongType, params.At("key").Position, "put it in quotes", "add: params.key must be a text")
	}
}

func (l *linter) remove(s *step, p *pb.Delete) {
	if len(p.GetFields()) == 0 {
		l.missing(s, s.Position, "fields", "write fields: [name of a field]")
	}
	seen := map[string]bool{}
	for i, name := range p.GetFields() {
		at := s.At("fields", strconv.Itoa(i)).Position
		switch {
		case name == "":
			l.find(noEffect, at, "remove it", "delete: the name of the field is empty")
			continue
		case name == "raw":
			l.find(reservedField, at, "remove it from the list", "raw cannot be deleted")
			continue
		case tree.ParsePath(name).Special():
			l.find(badFieldName, at, "", "%q cannot be deleted: a path with wildcards or queries can only be read", name)
			continue
		case seen[name]:
			l.find(config.RuleDuplicateValue, at, "remove one of them", "delete: %q is listed before", name)
			continue
		}
		seen[name] = true
		s.removes = append(s.removes, use{path: name, at: at})
	}
}
