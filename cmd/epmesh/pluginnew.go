package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/epmesh/epmesh/plugins/bundled"
	"github.com/epmesh/epmesh/plugins/scaffold"
)

type pluginNewCmd struct {
	Name    string `arg:"" help:"The plugin's name, such as my-enricher."`
	Kind    string `name:"kind" required:"" enum:"parsing,analysis,correlation,notification,input" help:"What it is to be: parsing, analysis, correlation, notification or input."`
	Lang    string `name:"lang" required:"" enum:"go,go-sdk,python" help:"What it is written in: go (with the kit), go-sdk (with the official SDK) or python."`
	Dir     string `name:"dir" placeholder:"DIR" help:"The folder to make; the plugin's name if left out."`
	Module  string `name:"module" placeholder:"PATH" help:"The path of the Go module; example.com/NAME if left out."`
	Replace string `name:"replace" placeholder:"DIR" help:"Build with this checkout of the kit, or of the SDK, in place of a published version."`
}

func (pluginNewCmd) Help() string {
	return `Makes a small project in a new folder: code that does something and has a test, a README with
the commands to build and install it, and a pipeline file that puts it to work. It passes
epmesh plugin check as it is.

Examples:
  epmesh plugin new my-enricher --kind parsing --lang go
  epmesh plugin new my-source --kind input --lang python --dir src/my-source`
}

func (c *pluginNewCmd) Run(a *app) error {
	if _, ok := bundled.Lookup(c.Name); ok {
		return usagef("%s is the name of a bundled plugin; choose another", c.Name)
	}
	p := scaffold.Project{Name: c.Name, Kind: c.Kind, Lang: c.Lang, Module: c.Module}
	if c.Replace != "" && c.Lang != "python" {
		dir, err := filepath.Abs(c.Replace)
		if err == nil {
			err = scaffold.CheckReplace(c.Lang, dir)
		}
		if err != nil {
			return usagef("--replace: %w", err)
		}
		p.Replace = dir
	} else if c.Replace != "" {
		p.Replace = c.Replace
	}
	if c.Lang == "go" && p.Replace == "" {
		p.Replace, p.KitVersion = kit()
	}
	if _, err := scaffold.Files(p); err != nil {
		return usagef("%w", err)
	}
	dir := c.Dir
	if dir == "" {
		dir = c.Name
	}
	if err := scaffold.Write(p, dir); err != nil {
		return err
	}
	_, err := fmt.Fprint(a.stdout, c.next(p, dir))
	return err
}

// next says what to do with the project.
func (c *pluginNewCmd) next(p scaffold.Project, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "made %s\n  cd %s\n", dir, dir)
	if c.Lang == "python" {
		fmt.Fprintf(&b, "  python3 -m unittest\n")
	} else {
		fmt.Fprintf(&b, "  go mod tidy\n  go test ./...\n  go build -o %s.plugin .\n", c.Name)
	}
	fmt.Fprintf(&b, "  %s\n", p.CheckCommand())
	if p.Replace != "" {
		fmt.Fprintf(&b, "it is built with %s; README.md says how to change that\n", p.Replace)
	}
	return b.String()
}

// kit finds the kit that a new project is to be built with: the source code that
// this program was built from or is run in, else the version that it is.
func kit() (checkout, version string) {
	places := []string{"."}
	// The path of this file, unless -trimpath left it out.
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		places = append([]string{filepath.Dir(file)}, places...)
	}
	if self, err := os.Executable(); err == nil {
		places = append(places, filepath.Dir(self))
	}
	for _, place := range places {
		if dir := scaffold.Checkout(place); dir != "" {
			return dir, ""
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") && !strings.Contains(info.Main.Version, "+") {
		return "", info.Main.Version
	}
	return "", ""
}
