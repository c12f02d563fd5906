package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print one line of JSON."`
}

func (versionCmd) Help() string {
	return `Example:
  epmesh version --json`
}

// build is what the toolchain wrote into the binary.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuild() build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) String() string {
	text := "epmesh " + b.Version
	if b.Revision != "" {
		text += " " + b.Revision[:min(len(b.Revision), 12)]
		if b.Modified {
			text += " (modified)"
		}
	}
	return text + " " + b.Go + " " + b.Platform
}

func (c *versionCmd) Run(a *app) error {
	b := readBuild()
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(b)
	}
	_, err := fmt.Fprintln(a.stdout, b)
	return err
}
