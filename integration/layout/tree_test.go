package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path that our own imports begin with.
const module = "github.com/epmesh/epmesh"

// root is the repository, seen from this folder.
const root = "../.."

// source is one Go file of the project, whatever it is built for.
type source struct {
	path  string // from the root, with slashes
	dir   string
	lines int
	ast   *ast.File
}

func (s source) test() bool      { return strings.HasSuffix(s.path, "_test.go") }
func (s source) generated() bool { return ast.IsGenerated(s.ast) }

// imports are the paths that the file imports.
func (s source) imports() []string {
	var list []string
	for _, spec := range s.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has read it
		}
		list = append(list, name)
	}
	return list
}

var positions = token.NewFileSet()

var parse = sync.OnceValues(func() ([]source, error) {
	var list []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(positions, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		list = append(list, source{path: rel, dir: path.Dir(rel), lines: strings.Count(string(text), "\n"), ast: file})
		return nil
	})
	return list, err
})

// sources are all Go files but those in testdata.
func sources(t *testing.T) []source {
	t.Helper()
	list, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 100 {
		t.Fatalf("only %d files: is this the repository?", len(list))
	}
	return list
}

// at is the place of a node, from the root.
func at(n ast.Node) string {
	p := positions.Position(n.Pos())
	rel, err := filepath.Rel(root, p.Filename)
	if err != nil {
		rel = p.Filename
	}
	return rel + ":" + strconv.Itoa(p.Line)
}

// within reports whether a package lies in one of the rooms: the room's own
// folder or one below it.
func within(dir string, rooms ...string) bool {
	for _, room := range rooms {
		if dir == room || strings.HasPrefix(dir, room+"/") {
			return true
		}
	}
	return false
}
