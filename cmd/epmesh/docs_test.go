package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// sections are those of docs/commands.md by the command's path.
func sections(t *testing.T) (map[string]string, string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for _, part := range strings.Split(string(text), "\n## ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		byName[name] = body
	}
	return byName, string(text)
}

func leaves(t *testing.T) []*kong.Node {
	t.Helper()
	p, err := parser(&cli{}, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return p.Model.Leaves(true)
}

var flagWord = regexp.MustCompile("--[a-z][a-z-]*")

// TestDocs: what the page says of flags is what there is, and all of it.
func TestDocs(t *testing.T) {
	parts, _ := sections(t)
	shared := flagWord.FindAllString(parts["Which mesh"], -1)
	known := []string{}
	for _, leaf := range leaves(t) {
		name := leaf.FullPath()
		known = append(known, name)
		section, ok := parts[name]
		if !ok {
			t.Errorf("docs/commands.md has no section %q", name)
			continue
		}
		if !strings.Contains(section, "\n    ") || !strings.Contains(section, name) {
			t.Errorf("%s: no example", name)
		}
		said := flagWord.FindAllString(section, -1)
		if strings.Contains(name, "status") || name == "epmesh top" || strings.Contains(name, "tap") || strings.Contains(name, "dead") || strings.Contains(name, "prune") || strings.Contains(name, "verify") || strings.HasPrefix(name, "epmesh config ") || name == "epmesh autoscale" {
			said = append(said, shared...)
		}
		var has []string
		for _, group := range leaf.AllFlags(true) {
			for _, f := range group {
				has = append(has, "--"+f.Name)
			}
		}
		for _, f := range has {
			if f != "--help" && !slices.Contains(said, f) {
				t.Errorf("%s: %s is not described", name, f)
			}
		}
		for _, f := range said {
			if !slices.Contains(has, f) && !slices.Contains(shared, f) {
				t.Errorf("%s: %s is described and does not exist", name, f)
			}
		}
	}
	for name := range parts {
		if strings.HasPrefix(name, "epmesh ") && !slices.Contains(known, name) {
			t.Errorf("%s is described and does not exist", name)
		}
	}
}

// TestHelp: each command has a sentence and an example in its help.
func TestHelp(t *testing.T) {
	for _, leaf := range leaves(t) {
		if !strings.HasSuffix(leaf.Help, ".") {
			t.Errorf("%s: help %q is no sentence", leaf.FullPath(), leaf.Help)
		}
		if !strings.Contains(leaf.Detail, "Example") || !strings.Contains(leaf.Detail, leaf.FullPath()) {
			t.Errorf("%s: the help has no example", leaf.FullPath())
		}
		for _, group := range leaf.AllFlags(true) {
			for _, f := range group {
				if !strings.HasSuffix(f.Help, ".") {
					t.Errorf("%s --%s: help %q is no sentence", leaf.FullPath(), f.Name, f.Help)
				}
			}
		}
	}
}
