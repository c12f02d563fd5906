package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Source is a file that was read: its name and text.
type Source struct {
	Name string
	Data []byte
}

// InspectPipelines reads pipeline files as Load does, in the order given, for
// those who look into them: it keeps where every value stands, at a few hundred
// bytes a value, and of a file with errors what can be read.
func InspectPipelines(files []Source) (*Set, Report) {
	b := newBuilder()
	b.keep = true
	for _, f := range files {
		b.file(f.Name, f.Data)
	}
	b.finish()
	return b.set, b.report
}

// InspectRules reads a rule file as ParseRules does, and keeps as
// InspectPipelines does.
func InspectRules(file Source) ([]Rule, Report) {
	return parseRules(file.Name, file.Data, newSourceText(file.Name, file.Data))
}

// PipelineFiles are the files that Load reads of a pipeline folder, in its
// order, and what it says about the others.
func PipelineFiles(dir string) ([]Source, Report) {
	l := list(dir)
	var sources []Source
	for _, f := range l.files {
		if data, ok := l.read(f.path); ok {
			sources = append(sources, Source{f.path, data})
		}
	}
	return sources, l.report
}

// ReadSource reads one file, which must be a regular one of bounded size.
func ReadSource(path string) (Source, error) {
	data, err := readFile(path)
	if err != nil {
		return Source{}, reason(err)
	}
	return Source{path, data}, nil
}

// readFile reads a whole file that someone named, or that was found.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is a " + kindOfMode(info.Mode()))
	case info.Size() > maxFileSize:
		return nil, fmt.Errorf("it is larger than %s", Size(maxFileSize))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// Kind is what a YAML file is for.
type Kind int

// The kinds of files.
const (
	UnknownFile Kind = iota
	PipelineFile
	RuleFile
	SettingsYAML
	CasesFile
)

// isCases tells the files of `epmesh test` by their names. What ends in
// _test.yaml is a pipeline file, as for the reference engine.
func isCases(name string) bool { return strings.HasSuffix(name, CaseSuffix) }

// outerKeys are the keys that a file of each kind begins with. One of the sure
// ones is enough; the others say something only where there are no strange ones.
var outerKeys = map[Kind]struct{ sure, others []string }{
	PipelineFile: {
		[]string{"pipeline", "patterns", "disabledRules", "disabled_rules"},
		[]string{"tenants", "plugins", "env", meshKey},
	},
	RuleFile: {
		[]string{"where", "dataTypes", "data_types", "afterEvents", "correlation", "deduplicateBy", "groupBy"},
		[]string{"id", "name", "description", "category", "technique", "references", "adversary", "impact"},
	},
	SettingsYAML: {
		[]string{"nats", "work_dir", "default_tenant"},
		[]string{"node", "groups", "mode", "log", "http", "input", "stages", "plugins"},
	},
}

// KindOf tells what a file is for: cases by its name, else by what it holds. A
// file that holds nothing that is known, or cannot be read, is what the folder
// it lies in is for.
func KindOf(file Source) Kind {
	if isCases(file.Name) {
		return CasesFile
	}
	if kind := holds(file.Data); kind != UnknownFile {
		return kind
	}
	parts := strings.Split(filepath.ToSlash(file.Name), "/")
	for _, folder := range slices.Backward(parts[:len(parts)-1]) {
		switch folder {
		case "pipeline", "filters":
			return PipelineFile
		case "rules":
			return RuleFile
		}
	}
	if parts[len(parts)-1] == SettingsFile {
		return SettingsYAML
	}
	return UnknownFile
}

// holds tells what a file is for by its text alone.
func holds(data []byte) Kind {
	if root := (&document{}).parse(data); root != nil {
		return kindOf(behind(root))
	}
	return UnknownFile
}

func kindOf(n *yaml.Node) Kind {
	if n.Kind == yaml.SequenceNode && len(n.Content) > 0 {
		if kindOf(behind(n.Content[0])) == RuleFile {
			return RuleFile
		}
		return UnknownFile
	}
	if n.Kind != yaml.MappingNode {
		return UnknownFile
	}
	best, most := UnknownFile, 0
	for _, kind := range []Kind{PipelineFile, RuleFile, SettingsYAML} {
		sure, others := 0, 0
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch key := behind(n.Content[i]).Value; {
			case key == "pipeline" && behind(n.Content[i+1]).Kind == yaml.MappingNode:
				// Settings have a section of that name, not a list.
				if kind == SettingsYAML {
					sure++
				}
			case slices.Contains(outerKeys[kind].sure, key):
				sure++
			case slices.Contains(outerKeys[kind].others, key):
				others++
			}
		}
		all := sure+others == len(n.Content)/2
		// A single word such as name or groups begins many other files.
		known := sure > 0 || all && (others > 1 || kind == PipelineFile && others > 0)
		if known && sure+others > most {
			best, most = kind, sure+others
		}
	}
	return best
}

// SortSources brings pipeline files into the order in which a node reads them.
func SortSources(files []Source) {
	slices.SortStableFunc(files, func(a, b Source) int {
		return cmp.Or(natural(filepath.Base(a.Name), filepath.Base(b.Name)), strings.Compare(a.Name, b.Name))
	})
}
