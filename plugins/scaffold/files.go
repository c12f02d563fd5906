package scaffold

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"text/template"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

//go:embed templates
var templates embed.FS

// File is one file of a project.
type File struct {
	// Path is from the project's folder, with slashes.
	Path       string
	Text       []byte
	Executable bool
}

// about is what the README says of each kind.
var about = map[string]struct{ about, article, sample string }{
	"parsing":      {"It takes the URL in a field of a draft apart, into `target.domain`, `target.port` and `target.path`.", "a", "a draft with a URL"},
	"analysis":     {"It raises an alert for an event of which one side sent more than `maxBytes`.", "an", "an event that is one too many"},
	"correlation":  {"It turns each alert of at least `minImpact` into a message of the topic `high-alert`, for the notification plugins.", "a", "an alert that is high enough"},
	"notification": {"It writes each message as a JSON line to `WORK_DIR/data/%s/messages.jsonl`.", "a", "a message"},
	"input":        {"It sends the load of the machine as a log, every `interval`.", "an", ""},
}

var languages = map[string]string{
	"go": "Go, with the kit of epmesh", "go-sdk": "Go, with the official SDK", "python": "Python",
}

// values are what templates may name.
type values struct {
	Project
	About, Article, Sample, Language string
	Home, Kit, GoVersion             string
}

func (p Project) values() values {
	a := about[p.Kind]
	v := values{Project: p, About: a.about, Article: a.article, Sample: a.sample, Language: languages[p.Lang], Home: kitModule, Kit: kitModule, GoVersion: "1.26.0"}
	if p.Kind == "notification" {
		v.About = fmt.Sprintf(a.about, p.Name)
	}
	switch {
	case p.Lang == "go-sdk":
		v.Kit, v.KitVersion, v.GoVersion = sdkModule, sdkVersion, "1.25.5"
	case v.KitVersion == "" || p.Replace != "":
		v.KitVersion = unpublished
	}
	return v
}

// Files makes the files of a project. An error says what is wrong with it.
func Files(p Project) ([]File, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	v := p.values()
	var list []File
	add := func(to string, executable bool, from ...string) error {
		text, err := render(v, from...)
		if err == nil {
			list = append(list, File{Path: to, Text: text, Executable: executable})
		}
		return err
	}
	type file struct {
		to         string
		executable bool
		from       []string
	}
	common := func(name string) []string { return []string{path.Join("common", name)} }
	files := []file{
		{to: "README.md", from: common("README.md.tmpl")},
		{to: ".gitignore", from: common("gitignore.tmpl")},
		{to: "pipeline/" + p.Name + ".yaml", from: common("pipeline_" + p.Kind + ".yaml.tmpl")},
	}
	if p.Kind == "input" {
		files = append(files, file{to: "check.yaml", from: common("check_input.yaml.tmpl")})
	} else {
		files = append(files, file{to: "sample.json", from: common("sample_" + p.Kind + ".json.tmpl")})
	}
	if p.Lang == "python" {
		files = append(
			files,
			file{to: p.Name + ".plugin", executable: true, from: []string{"python/launcher.tmpl"}},
			file{to: "mesh.py", from: []string{"python/mesh.py.tmpl"}},
			file{to: "plugin.py", from: []string{"python/plugin_" + p.Kind + ".py.tmpl"}},
			file{to: "test_plugin.py", from: []string{"python/test_" + p.Kind + ".py.tmpl"}},
		)
		descriptors, err := Descriptors()
		if err != nil {
			return nil, err
		}
		list = append(list, File{Path: "contract/plugins.proto", Text: []byte(pb.Source)}, File{Path: "contract/plugins.protoset", Text: descriptors})
	} else {
		// What the SDK's project has in common with the kit's is there once.
		either := func(name string) []string { return []string{path.Join(p.Lang, name), path.Join("go", name)} }
		files = append(
			files,
			file{to: "go.mod", from: either("go.mod.tmpl")},
			file{to: "main.go", from: either("main_" + p.Kind + ".go.tmpl")},
			file{to: "plugin.go", from: either("plugin_" + p.Kind + ".go.tmpl")},
			file{to: "plugin_test.go", from: either("plugin_" + p.Kind + "_test.go.tmpl")},
		)
		if p.Lang == "go-sdk" && p.Replace == "" {
			files = append(files, file{to: "go.sum", from: []string{"go-sdk/go.sum.tmpl"}})
		}
	}
	for _, f := range files {
		if err := add(f.to, f.executable, f.from...); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// render fills in the first of the templates that is there.
func render(v values, names ...string) ([]byte, error) {
	var text []byte
	var err error
	for _, name := range names {
		if text, err = templates.ReadFile(path.Join("templates", name)); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	t, err := template.New(names[0]).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return out.Bytes(), nil
}

// Descriptors are the contract and what it imports, as a FileDescriptorSet in
// wire form, each file after those that it imports.
func Descriptors() ([]byte, error) {
	set := new(descriptorpb.FileDescriptorSet)
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(pb.File_plugins_proto)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	return b, nil
}

// CheckCommand is how the project's plugin is checked, in its folder.
func (p Project) CheckCommand() string {
	command := "epmesh plugin check ./" + p.Name + ".plugin"
	if p.Kind == "input" {
		return command + ` --config check.yaml --sequence '"n":([0-9]+)'`
	}
	return command + " --config pipeline/" + p.Name + ".yaml --sample sample.json"
}
