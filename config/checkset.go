package config

import (
	"slices"
	"strconv"
	"strings"

	pb "github.com/epmesh/epmesh/proto"
)

// maxPluginName keeps socket paths within what the system takes.
const maxPluginName = 64

// checkPipelines warns of what loads but does nothing.
func (d *decoder) checkPipelines(cfg *pb.Config) {
	for _, p := range cfg.Pipeline {
		at, read := d.at[p]
		if len(p.DataTypes) == 0 && read {
			d.add(RuleNoDataTypes, Warning, at.Line, at.Column, "write dataTypes: [the type of the logs]", "the pipeline has no dataTypes, so it never runs")
		}
		for _, step := range p.Steps {
			at := d.at[step]
			if dynamic := step.Dynamic; dynamic != nil && !validPluginName(dynamic.Plugin) {
				d.add(RulePluginName, Warning, at.Line, at.Column, "write plugin: the name that the plugin's socket begins with", "the dynamic step names no plugin that can be called")
			}
		}
	}
	for _, t := range cfg.Tenants {
		if at, read := d.at[t]; t.Id == "" && read {
			d.add(RuleBadTenant, Warning, at.Line, at.Column, "", "the tenant has no id, so no log belongs to it")
		}
	}
	if cfg.Env != nil {
		d.add(RuleIgnoredKey, Warning, 0, 0, "set NODE_NAME, NODE_GROUPS, LOG_LEVEL and MODE in the environment", "env is not read from pipeline files")
	}
}

// checkPlugin checks those keys of a plugin that mean something to the node.
func (d *decoder) checkPlugin(name string, settings any) {
	path := "plugins." + name
	keys, isMapping := settings.(map[string]any)
	_, hasOrder := keys["order"]
	if slices.Contains(stages, name) {
		d.checkOrder(path, settings)
		return
	}
	if stage := Suggest(name, stages); stage != "" && hasOrder {
		d.addAt(RuleUnknownKey, path, Warning, `did you mean "`+stage+`"?`, "%s has an order, but there is no such stage", path)
	}
	if !isMapping || keys["bundled"] == nil {
		return
	}
	if s, ok := keys["bundled"].(string); !ok || s == "" {
		d.addAt(RuleWrongType, path+".bundled", Error, "write bundled: and the name of one of the plugins that come with epmesh", "%s.bundled must be the name of a bundled plugin", path)
	}
	if !validPluginName(name) {
		d.addAt(RulePluginName, path, Error, "", "%q cannot be the name of a plugin that is started: 1 to %d characters, no slash, no white space", name, maxPluginName)
	}
}

// checkOrder checks what plugins.<stage> says.
func (d *decoder) checkOrder(path string, settings any) {
	keys, ok := settings.(map[string]any)
	if !ok && settings != nil {
		d.addAt(RuleWrongType, path, Error, "write "+path+": {order: [name]}", "%s is a stage and takes a mapping with the key order", path)
		return
	}
	for key := range keys {
		if key != "order" && Suggest(key, []string{"order"}) != "" {
			d.addAt(RuleUnknownKey, path+"."+key, Warning, `did you mean "order"?`, "%s: unknown key %q is ignored", path, key)
		}
	}
	order := keys["order"]
	if order == nil {
		return
	}
	list, ok := order.([]any)
	if !ok {
		d.addAt(RuleWrongType, path+".order", Error, "write order: [name]", "%s.order must be a list of plugin names", path)
		return
	}
	seen := make(map[string]bool, len(list))
	for i, item := range list {
		at := path + ".order[" + strconv.Itoa(i) + "]"
		name, ok := item.(string)
		switch {
		case !ok || !validPluginName(name):
			d.addAt(RulePluginName, at, Error, "", "%s must be a plugin's name: a text of 1 to %d characters, no slash, no white space", at, maxPluginName)
		case seen[name]:
			d.addAt(RuleDuplicateValue, at, Warning, "remove one of them", "%s: plugin %q is listed before; each gets every item once", at, name)
		}
		seen[name] = true
	}
}

func (d *decoder) addAt(rule, path string, s Severity, hint, format string, args ...any) {
	at := d.place[path]
	d.add(rule, s, at.Line, at.Column, hint, format, args...)
}

// validPluginName tells whether a socket can bear the name.
func validPluginName(name string) bool {
	return name != "" && len(name) <= maxPluginName && !strings.ContainsAny(name, "/\x00 \t\r\n")
}
