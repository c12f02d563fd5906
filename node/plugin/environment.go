package plugin

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// basics are what a plugin gets of the node's own environment, besides what
// ProcessOptions.PassEnv names. Nothing else: the node's may hold credentials.
var basics = []string{"PATH", "HOME", "TZ", "LANG", "LC_ALL", "TMPDIR"}

// defaultPath is PATH where the node has none.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// environ is the whole environment of one plugin, sorted.
func (o *ProcessOptions) environ(s Spec, more ...string) []string {
	env := map[string]string{"PATH": defaultPath}
	for _, name := range slices.Concat(basics, o.PassEnv) {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	env["WORK_DIR"] = o.WorkDir
	env["NODE_NAME"] = o.Node
	env["NODE_GROUPS"] = strings.Join(o.Groups, ",")
	env["LOG_LEVEL"] = strconv.Itoa(o.LogLevel)
	env["MODE"] = o.Mode
	if o.NATSURL != "" {
		env["NATS_URL"] = o.NATSURL
	}
	env["EPMESH_PLUGIN_NAME"] = s.Name
	for _, entry := range slices.Concat(s.Env, more) {
		key, value, _ := strings.Cut(entry, "=")
		env[key] = value
	}
	list := make([]string, 0, len(env))
	for _, key := range slices.Sorted(maps.Keys(env)) {
		list = append(list, key+"="+env[key])
	}
	return list
}
