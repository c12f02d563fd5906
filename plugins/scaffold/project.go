package scaffold

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// What a project can be.
var (
	Kinds = []string{"parsing", "analysis", "correlation", "notification", "input"}
	Langs = []string{"go", "go-sdk", "python"}
)

const (
	kitModule  = "github.com/epmesh/epmesh"
	sdkModule  = "github.com/threatwinds/go-sdk"
	sdkVersion = "v1.1.31"
	// unpublished is the version that stands beside a replace.
	unpublished = "v0.0.0"
)

// Project is what is to be made.
type Project struct {
	// Name is the plugin's name in pipeline files, and of its socket.
	Name string
	Kind string
	Lang string
	// Module is the path of the Go module; example.com/<Name> if empty.
	Module string
	// Replace is the folder of a checkout of the kit, or of the official SDK,
	// which the project is built with; empty where the Go command fetches it.
	Replace string
	// KitVersion is the version of the kit to build with; empty where it is not
	// published, which needs Replace.
	KitVersion string
}

var (
	nameShape = regexp.MustCompile(`^[a-z][a-z0-9]*([-_.]?[a-z0-9]+)*$`)
	// reserved are keys below plugins that say something about others.
	reserved = []string{"analysis", "correlation", "notification", "output", "order", "plugin", "engine_server"}
)

// maxName keeps WORK_DIR/sockets/<name>_notification.sock, of which the system
// takes 107 bytes, below it for most work dirs.
const maxName = 48

// CheckName says why a plugin had better not have this name; nil if it may. It
// is stricter than the node, which takes whatever can be a file's name: this
// one becomes a Go module and a command too.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a plugin needs a name")
	case len(name) > maxName:
		return fmt.Errorf("plugin name %.20q... is longer than %d characters; a socket's path may have 107 in all", name, maxName)
	case !nameShape.MatchString(name):
		return fmt.Errorf("plugin name %q: use lower-case letters and digits, begin with a letter, and put single - _ or . between them, such as my-enricher", name)
	case slices.Contains(reserved, name):
		return fmt.Errorf("plugin name %q means something else in pipeline files; choose another", name)
	}
	return nil
}

var moduleShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9][A-Za-z0-9._~-]*)*$`)

// check fills in what is missing and says what is wrong.
func (p *Project) check() error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	if !slices.Contains(Kinds, p.Kind) {
		return fmt.Errorf("kind %q: there are %s", p.Kind, strings.Join(Kinds, ", "))
	}
	if !slices.Contains(Langs, p.Lang) {
		return fmt.Errorf("language %q: there are %s", p.Lang, strings.Join(Langs, ", "))
	}
	if p.Lang == "python" {
		if p.Module != "" || p.Replace != "" {
			return errors.New("a Python project is no Go module: leave --module and --replace out")
		}
		return nil
	}
	if p.Module == "" {
		p.Module = path.Join("example.com", p.Name)
	}
	if !moduleShape.MatchString(p.Module) || strings.HasSuffix(p.Module, ".") {
		return fmt.Errorf("module path %q: write one such as example.com/%s", p.Module, p.Name)
	}
	if p.Lang == "go" && p.Replace == "" && p.KitVersion == "" {
		return fmt.Errorf("the kit %s is not published yet, and this epmesh was not built in a checkout that is still there: name a checkout with --replace DIR", kitModule)
	}
	if strings.ContainsAny(p.Replace, "\n\r\"`") {
		return fmt.Errorf("the path %q cannot stand in a go.mod: move the checkout", p.Replace)
	}
	return nil
}
