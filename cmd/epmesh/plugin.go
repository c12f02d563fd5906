package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/bundled"
	"github.com/hashicorp/go-hclog"
)

type pluginCmd struct {
	List  pluginListCmd  `cmd:"" help:"List the plugins that come with epmesh."`
	Run   pluginRunCmd   `cmd:"" help:"Run one of them in this process."`
	New   pluginNewCmd   `cmd:"" help:"Make a project for a new plugin."`
	Check pluginCheckCmd `cmd:"" help:"Tell whether a plugin keeps the contract, without a mesh."`
}

func (pluginCmd) Help() string {
	return `A node runs a bundled plugin wherever its pipeline files say
plugins: {<name>: {bundled: NAME}}, as a process of its own. Plugins of your own it runs from
WORK_DIR/plugins.

Example:
  epmesh plugin list`
}

type pluginListCmd struct {
	JSON bool `name:"json" help:"Print JSON, one plugin a line."`
}

func (pluginListCmd) Help() string {
	return `Example:
  epmesh plugin list`
}

func (c *pluginListCmd) Run(a *app) error {
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, name := range bundled.Names() {
		info, _ := bundled.Lookup(name)
		if !c.JSON {
			fmt.Fprintf(t, "%s\t%s\t%s\n", info.Name, info.Kind, info.About)
			continue
		}
		err := json.NewEncoder(a.stdout).Encode(struct {
			Name  string `json:"name"`
			Kind  string `json:"kind"`
			About string `json:"about"`
		}{info.Name, info.Kind, info.About})
		if err != nil {
			return err
		}
	}
	return t.Flush()
}

type pluginRunCmd struct {
	Name string `arg:"" help:"The bundled plugin."`
}

func (pluginRunCmd) Help() string {
	return `The node does this; by hand it serves to look at a plugin alone. It is served as
EPMESH_PLUGIN_NAME, or its own name, in WORK_DIR, with the settings of that name,
and writes its log as JSON lines to standard error.

Example:
  WORK_DIR=/var/lib/epmesh epmesh plugin run notify`
}

func (c *pluginRunCmd) Run(a *app) error {
	if _, ok := bundled.Lookup(c.Name); !ok {
		return usagef("there is no bundled plugin %q; epmesh plugin list shows what there is", c.Name)
	}
	served := cmp.Or(os.Getenv("EPMESH_PLUGIN_NAME"), c.Name)
	log := plugins.NewLogger(served, a.stderr)
	if log.GetLevel() > hclog.Info {
		// The node reads from the log what the plugin listens on, and chooses
		// itself what it passes on.
		log.SetLevel(hclog.Info)
	}
	if err := bundled.Run(a.ctx, c.Name, served, log); err != nil {
		// In the log's form, as the node is who reads it.
		for line := range strings.Lines(err.Error()) {
			log.Error(strings.TrimSpace(line))
		}
		return errSilent
	}
	return nil
}
