package plugins

import (
	"cmp"
	"encoding/json"
	"path/filepath"
	"sync"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/internal/stamp"
	"github.com/tidwall/gjson"
)

// cfgPoll is how long PluginCfg and WatchSettings wait between two looks at the
// files; tests wait less.
var cfgPoll = time.Second

// PluginCfg returns the settings of a plugin: what the files below
// WORK_DIR/pipeline hold under plugins.<name>. The files are read again when
// they have changed, so each call returns the newest that could be read;
// mistakes in the files are the node's to report. A plugin without settings gets
// a result that does not exist.
//
// With wait set to true it waits until there are settings for the plugin.
func PluginCfg(pluginName string, wait ...bool) gjson.Result {
	return pluginCfg(WorkDir, pluginName, len(wait) > 0 && wait[0])
}

func pluginCfg(dir, name string, wait bool) gjson.Result {
	for {
		r := SettingsOf(LoadConfig(dir), name)
		if r.Exists() || !wait {
			return r
		}
		time.Sleep(cfgPoll)
	}
}

// SettingsOf returns what a configuration says under plugins.<name>.
func SettingsOf(set *config.Set, name string) gjson.Result {
	value, ok := set.Plugins[name]
	if !ok {
		return gjson.Result{}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return gjson.Result{}
	}
	return gjson.ParseBytes(text)
}

var loaded struct {
	sync.Mutex
	dir   string
	stamp uint64
	set   *config.Set
}

// LoadConfig returns the configuration below dir/pipeline; an empty dir means
// WorkDir. It reads the files only when they have changed since the last call.
// While a file has an error, what was read before stays, as it does in the node;
// at first, the file is left out. The set must not be changed.
func LoadConfig(dir string) *config.Set {
	dir = cmp.Or(dir, WorkDir)
	loaded.Lock()
	defer loaded.Unlock()
	now := stamp.Of(filepath.Join(dir, "pipeline"), ".yaml")
	if loaded.set == nil || loaded.dir != dir || loaded.stamp != now {
		set, whole := readConfig(dir)
		if whole || loaded.set == nil || loaded.dir != dir {
			loaded.set = set
		}
		loaded.dir, loaded.stamp = dir, now
	}
	return loaded.set
}

// readConfig is the one place that knows how package config is asked. whole
// reports that no file had to be left out.
func readConfig(dir string) (set *config.Set, whole bool) {
	set, report := config.Load(filepath.Join(dir, "pipeline"))
	return set, report.Err() == nil
}
