package config

import (
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// meshKey is the outer key of a pipeline file that is not the contract's.
const meshKey = "mesh"

var (
	meshKeys     = []string{"affinity", "place", "singletons"}
	placeKeys    = []string{"dataType", "groups", "plugin", "stage", "tenant"}
	affinityKeys = []string{"key", "partitions"}
)

// readMesh reads the mesh section of a file.
func (d *decoder) readMesh(n *yaml.Node, depth int) {
	if !d.visit(n, depth) || n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, meshKey, "a mapping", "write mesh: {place: [...], affinity: {...}, singletons: [...]}")
		return
	}
	for _, p := range d.pairs(n, depth) {
		path := meshKey + "." + p.key
		if p.value.ShortTag() == "!!null" {
			continue
		}
		switch p.key {
		case "place":
			d.readPlaces(p.value, path, depth+1)
		case "affinity":
			d.readAffinities(p.value, path, depth+1)
		case "singletons":
			d.mesh.Singletons = d.pluginNames(p.value, path, depth+1)
		default:
			d.unknown(p, meshKey, didYouMean(p.key, meshKeys))
		}
	}
}

func (d *decoder) positionOf(n *yaml.Node) Position {
	return Position{File: d.file, Line: n.Line, Column: n.Column}
}

func (d *decoder) readPlaces(n *yaml.Node, path string, depth int) {
	if !d.visit(n, depth) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "a list", "write place: [{stage: analysis, groups: [name]}]")
		return
	}
	for i, item := range n.Content {
		if p, ok := d.readPlace(behind(item), path+"["+strconv.Itoa(i)+"]", depth+1); ok {
			d.mesh.Place = append(d.mesh.Place, p)
		}
	}
}

func (d *decoder) readPlace(n *yaml.Node, path string, depth int) (p Placement, ok bool) {
	if !d.visit(n, depth) {
		return p, false
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "a mapping", "write {stage: analysis, groups: [name]}")
		return p, false
	}
	p.Position = d.positionOf(n)
	ok = true
	given := false // groups
	for _, kv := range d.pairs(n, depth) {
		at := path + "." + kv.key
		into := map[string]*string{"stage": &p.Stage, "plugin": &p.Plugin, "dataType": &p.DataType, "tenant": &p.Tenant}[kv.key]
		switch {
		case into != nil:
			text, is := d.meshText(kv.value, at, depth+1)
			*into, ok = text, ok && is
			if is && kv.key == "stage" && !slices.Contains(MeshStages, text) {
				d.add(RuleBadValue, Error, kv.value.Line, kv.value.Column, didYouMean(text, MeshStages), "%s: there is no stage %q", at, text)
			}
			if is && kv.key == "plugin" && !validPluginName(text) {
				d.add(RulePluginName, Error, kv.value.Line, kv.value.Column, "", "%s must be a plugin's name: a text of 1 to %d characters, no slash, no white space", at, maxPluginName)
			}
		case kv.key == "groups":
			given = true
			p.Groups = d.meshTexts(kv.value, at, depth+1, validGroup, "a group's name is a text of 1 to "+strconv.Itoa(maxGroup)+" characters without a comma, as NODE_GROUPS has them")
			if len(p.Groups) == 0 {
				ok = false
				if kv.value.Kind == yaml.SequenceNode && len(kv.value.Content) == 0 {
					d.add(RuleBadValue, Error, kv.value.Line, kv.value.Column, "name the groups, or leave the rule out", "%s is empty, so no node could take the work", at)
				}
			}
		default:
			d.unknown(kv, path, didYouMean(kv.key, placeKeys))
		}
	}
	switch {
	case !ok:
	case !given:
		d.add(RuleBadValue, Error, n.Line, n.Column, "write groups: [name], as NODE_GROUPS of the nodes has it", "%s says no groups", path)
	case p.Stage+p.Plugin+p.DataType+p.Tenant == "":
		d.add(RuleBadValue, Error, n.Line, n.Column, "give at least one of stage, plugin, dataType and tenant", "%s does not say what it is about", path)
	case p.Stage == "notification" && p.Slice():
		d.add(RuleBadValue, Error, n.Line, n.Column, "leave dataType and tenant out", "%s: messages have no tenant and no data type", path)
	}
	return p, ok
}

func (d *decoder) readAffinities(n *yaml.Node, path string, depth int) {
	if !d.visit(n, depth) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "a mapping", "write affinity: {name-of-the-plugin: origin.ip}")
		return
	}
	d.mesh.Affinity = make(map[string]Affinity)
	for _, p := range d.pairs(n, depth) {
		at := path + "." + p.key
		a := Affinity{Position: d.positionOf(p.at)}
		if !validPluginName(p.key) {
			d.add(RulePluginName, Error, p.at.Line, p.at.Column, "", "%s: %q cannot be the name of a plugin", path, p.key)
			continue
		}
		if p.value.Kind == yaml.MappingNode {
			if !d.readAffinity(&a, p.value, at, depth+1) {
				continue
			}
		} else if text, ok := d.meshText(p.value, at, depth+1); ok {
			a.Key = text
		} else {
			continue
		}
		d.mesh.Affinity[p.key] = a
	}
}

func (d *decoder) readAffinity(a *Affinity, n *yaml.Node, path string, depth int) (ok bool) {
	if !d.visit(n, depth) {
		return false
	}
	ok = true
	for _, p := range d.pairs(n, depth) {
		at := path + "." + p.key
		switch p.key {
		case "key":
			text, is := d.meshText(p.value, at, depth+1)
			a.Key, ok = text, ok && is
		case "partitions":
			count, err := strconv.Atoi(p.value.Value)
			if p.value.ShortTag() != "!!int" || err != nil || count < 1 || count > maxPartitions {
				d.add(RuleBadValue, Error, p.value.Line, p.value.Column, "", "%s must be a whole number from 1 to %d", at, maxPartitions)
				ok = false
			}
			a.Partitions = count
		default:
			d.unknown(p, path, didYouMean(p.key, affinityKeys))
		}
	}
	if ok && a.Key == "" {
		d.add(RuleBadValue, Error, n.Line, n.Column, "write key: origin.ip", "%s says no key", path)
		ok = false
	}
	return ok
}

func (d *decoder) pluginNames(n *yaml.Node, path string, depth int) []string {
	return d.meshTexts(n, path, depth, validPluginName, "a plugin's name is a text of 1 to "+strconv.Itoa(maxPluginName)+" characters, no slash, no white space")
}

// meshTexts reads a list of names without repetitions.
func (d *decoder) meshTexts(n *yaml.Node, path string, depth int, valid func(string) bool, hint string) []string {
	if !d.visit(n, depth) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "a list", "write [name]")
		return nil
	}
	var list []string
	for i, item := range n.Content {
		item, at := behind(item), path+"["+strconv.Itoa(i)+"]"
		text, ok := d.meshText(item, at, depth+1)
		switch {
		case !ok:
		case !valid(text):
			d.add(RuleBadValue, Error, item.Line, item.Column, hint, "%s: %q cannot be a name", at, text)
		case slices.Contains(list, text):
			d.add(RuleDuplicateValue, Warning, item.Line, item.Column, "remove one of them", "%s: %q is listed before", at, text)
		default:
			list = append(list, text)
		}
	}
	return list
}

// meshText reads a text that is not empty.
func (d *decoder) meshText(n *yaml.Node, path string, depth int) (string, bool) {
	if !d.visit(n, depth) {
		return "", false
	}
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.ScalarNode && (tag == "!!int" || tag == "!!float" || tag == "!!bool"):
		d.wrong(n, path, "a text", "put it in quotes")
	case n.Kind != yaml.ScalarNode || tag == "!!null":
		d.wrong(n, path, "a text", "")
	case n.Value == "":
		d.add(RuleBadValue, Error, n.Line, n.Column, "leave the key out to mean all", "%s is empty", path)
	default:
		return d.text(n), true
	}
	return "", false
}
