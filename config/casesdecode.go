package config

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// What a log is given where a case does not say it: always the same, so that
// its event is.
const (
	caseID        = "00000000-0000-4000-8000-000000000001"
	caseTimestamp = "2026-01-01T00:00:00Z"
	caseSource    = "unknown"
)

// caseDecoder reads a file of cases. All mistakes are errors: what is passed
// over would be a case that tests nothing.
type caseDecoder struct {
	document
	out      *CaseFile
	defaults map[string]string // of logs, by their JSON names
	stubs    map[string]Stub
}

// ParseCases reads a case file's text; path stands in positions, and the files
// that it names are relative to its folder. The file is of use only if the
// report has no errors.
func ParseCases(path string, data []byte) (*CaseFile, Report) {
	d := &caseDecoder{
		out:      &CaseFile{Path: path, data: data},
		defaults: map[string]string{"id": caseID, "@timestamp": caseTimestamp, "dataSource": caseSource, "tenantId": Defaults().Tenant},
	}
	d.file, d.lax = path, Error
	root := d.parse(data)
	if root == nil {
		if !d.failed {
			d.add(RuleBadCase, Error, 1, 1, "write cases:, and below it a list of cases", "the file holds no cases")
		}
		return d.out, d.sorted()
	}
	d.out.root = behind(root)
	var cases *pair
	d.keys(d.out.root, "", 0, map[string]func(pair){
		"files":    func(p pair) { d.out.Files = d.files(p, "remove the key for the files that the node would read") },
		"rules":    func(p pair) { d.out.Rules = d.files(p, "remove the key for the rules that the node would read") },
		"defaults": func(p pair) { d.givenDefaults(p) },
		"plugins":  func(p pair) { d.stubs = d.plugins(p, "plugins", 1) },
		"cases":    func(p pair) { cases = &p },
		"keepUnderscores": func(p pair) {
			keep := Defaults().Pipeline.KeepUnderscores
			if d.visit(p.value, 1) && (p.value.ShortTag() != "!!bool" || p.value.Decode(&keep) != nil) {
				d.wrong(p.value, "keepUnderscores", "true or false", "")
			}
			d.out.StripUnderscores = !keep
		},
	})
	for _, name := range slices.Sorted(maps.Keys(d.stubs)) {
		d.out.Stubs = append(d.out.Stubs, Named{name, d.out.keyPosition("plugins", name)})
	}
	// Last, since what stands above or below it counts for all cases.
	if cases != nil {
		d.cases(*cases)
	} else if !d.failed {
		d.add(RuleBadCase, Error, d.out.root.Line, d.out.root.Column, "write cases:, and below it a list of cases", "the file holds no cases")
	}
	return d.out, d.sorted()
}

// keyPosition is where a key of a mapping at the top of the file stands.
func (f *CaseFile) keyPosition(section, name string) Position {
	if at := child(child(f.root, section, true), name, false); at != nil {
		return Position{f.Path, at.Line, at.Column}
	}
	return Position{File: f.Path, Line: f.root.Line, Column: f.root.Column}
}

// child finds a key, or its value, in a mapping; nil if there is none.
func child(n *yaml.Node, key string, value bool) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			if value {
				return behind(n.Content[i+1])
			}
			return n.Content[i]
		}
	}
	return nil
}

// keys gives each key of a mapping to the function that it belongs to.
func (d *caseDecoder) keys(n *yaml.Node, name string, depth int, take map[string]func(pair)) bool {
	if !d.visit(n, depth) {
		return false
	}
	known := slices.Sorted(maps.Keys(take))
	if n.Kind != yaml.MappingNode {
		d.wrong(n, name, "a mapping", "known keys: "+strings.Join(known, ", "))
		return false
	}
	for _, p := range d.pairs(n, depth) {
		if f := take[p.key]; f != nil {
			f(p)
		} else {
			d.add(RuleUnknownKey, Error, p.at.Line, p.at.Column, didYouMean(p.key, known), "%sunknown key %q", prefix(name), p.key)
		}
	}
	return true
}

func (d *caseDecoder) wrong(n *yaml.Node, name, want, hint string) {
	d.add(RuleWrongType, Error, n.Line, n.Column, hint, "%sexpected %s, found %s", prefix(name), want, found(n))
}

func (d *caseDecoder) position(n *yaml.Node) Position { return Position{d.file, n.Line, n.Column} }

// text reads a text; a value of another type must be put in quotes.
func (d *caseDecoder) text(n *yaml.Node, name string, depth int) (string, bool) {
	if !d.visit(n, depth) {
		return "", false
	}
	hint := ""
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!int", "!!float", "!!bool":
			hint = "put it in quotes"
		case "!!null":
			hint = `write "" for an empty one`
		default:
			return d.characters(n)
		}
	}
	d.wrong(n, name, "a text", hint)
	return "", false
}

func (d *caseDecoder) list(n *yaml.Node, name string, depth int) []*yaml.Node {
	if !d.visit(n, depth) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, name, "a list", `begin each item with "- "`)
		return nil
	}
	items := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		items[i] = behind(item)
	}
	return items
}

func (d *caseDecoder) cases(p pair) {
	items := d.list(p.value, "cases", 1)
	if len(items) == 0 && !d.failed {
		d.add(RuleBadCase, Error, p.at.Line, p.at.Column, `begin each case with "- "`, "the file holds no cases")
	}
	lines := make(map[string]int, len(items))
	for i, n := range items {
		c := d.oneCase(n)
		if first := lines[c.Name]; first != 0 {
			at := child(n, "name", true)
			if at == nil {
				at = n
			}
			d.add(RuleBadCase, Error, at.Line, at.Column, "", "the name %q is given twice, first in line %d", c.Name, first)
		} else if c.Name != "" {
			lines[c.Name] = items[i].Line
		}
		d.out.Cases = append(d.out.Cases, c)
	}
}

func (d *caseDecoder) oneCase(n *yaml.Node) Case {
	c := Case{Position: d.position(n), Want: Want{At: make(map[string]Position)}}
	named, given := false, make(map[string]pair)
	fields := maps.Clone(d.defaults)
	var log map[string]string
	w := wantDecoder{caseDecoder: d, want: &c.Want}
	take := map[string]func(pair){
		"name": func(p pair) { c.Name, named = d.name(p.value), true },
		"raw": func(p pair) {
			given["raw"] = p
			fields["raw"], _ = d.text(p.value, "raw", 3)
		},
		"log":     func(p pair) { given["log"], log = p, d.log(p) },
		"plugins": func(p pair) { c.Plugins = d.plugins(p, "plugins", 3) },
		"fields":  w.fields, "matches": w.matches, "absent": w.absent, "exact": w.exact, "event": w.event,
		"errors": w.errors, "dropped": w.dropped, "dead": w.dead, "alerts": w.alerts,
		"events": func(p pair) { given["events"], c.Events = p, d.events(p) },
	}
	for key, field := range logKeys {
		take[key] = func(p pair) {
			given[key] = p
			if s, ok := d.text(p.value, key, 3); ok {
				fields[field] = s
			}
		}
	}
	before := len(d.report)
	if !d.keys(n, "", 2, take) {
		return c
	}
	if !named {
		d.add(RuleBadCase, Error, n.Line, n.Column, "write name: and what the case shows", "the case has no name")
	}
	l, both := given["log"]
	if events, ok := given["events"]; ok {
		for key, p := range given {
			if key != "events" {
				d.add(RuleBadCase, Error, p.at.Line, p.at.Column, "write it in an item of events", "the case has events, in line %d, and beside them %s", events.at.Line, key)
			}
		}
		w.onlyAlerts()
		d.stubsFor(&c)
		return c
	}
	if both {
		maps.Copy(fields, log)
		for key, p := range given {
			if key != "log" {
				d.add(RuleBadCase, Error, p.at.Line, p.at.Column, "write it below log", "the case has a log, in line %d, and beside it %s", l.at.Line, key)
			}
		}
	} else if _, ok := given["raw"]; !ok {
		d.add(RuleBadCase, Error, n.Line, n.Column, "write raw: and the text of the log, or events: for rules", "the case has no log")
	}
	if fields["dataType"] == "" && len(d.report) == before {
		d.add(RuleBadCase, Error, n.Line, n.Column, "write dataType: in the case, or below defaults for all", "the case's log has no data type, so no pipeline would run")
	}
	w.exclusive(n)
	c.Log = logOf(fields)
	d.stubsFor(&c)
	return c
}

// stubsFor adds what plugins answer in all cases.
func (d *caseDecoder) stubsFor(c *Case) {
	for name, stub := range d.stubs {
		if _, own := c.Plugins[name]; !own {
			if c.Plugins == nil {
				c.Plugins = make(map[string]Stub)
			}
			c.Plugins[name] = stub
		}
	}
}

func (d *caseDecoder) name(n *yaml.Node) string {
	name, ok := d.text(n, "name", 3)
	if ok && (strings.TrimSpace(name) == "" || len(name) > maxCaseName || strings.ContainsFunc(name, unicode.IsControl)) {
		d.add(RuleBadCase, Error, n.Line, n.Column, "", "a name is one line of 1 to %d bytes", maxCaseName)
	}
	return name
}
