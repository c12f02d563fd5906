package layout

import (
	"go/ast"
	"strings"
	"testing"
)

func TestPackageComments(t *testing.T) {
	packages := map[string]int{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		packages[s.dir] += 0
		if doc := s.ast.Doc; doc != nil {
			packages[s.dir]++
			begins := "Package " + s.ast.Name.Name + " "
			if s.ast.Name.Name == "main" {
				continue
			}
			if !strings.HasPrefix(doc.Text(), begins) {
				t.Errorf("%s: the package comment does not begin with %q", s.path, begins)
			}
		}
	}
	for dir, n := range packages {
		if n != 1 {
			t.Errorf("%s has %d package comments: want one that says what it is", dir, n)
		}
	}
}

// What others may call is documented where it is declared. Methods that only
// implement what everybody knows need no words.
func TestExportedIsDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || s.generated() || s.ast.Name.Name == "main" || strings.Contains(s.dir, "internal/") {
			continue
		}
		for _, decl := range s.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if !d.Name.IsExported() || d.Doc != nil || wellKnown[d.Name.Name] && d.Recv != nil {
					continue
				}
				if d.Recv == nil || ast.IsExported(receiver(d)) {
					t.Errorf("%s: %s is exported and has no comment", at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				undocumented(t, d)
			}
		}
	}
}

// wellKnown are methods of the standard library's interfaces.
var wellKnown = map[string]bool{
	"String": true, "Error": true, "Unwrap": true, "Len": true, "Less": true, "Swap": true,
	"Read": true, "Write": true, "Close": true,
	"MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true,
}

func receiver(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

// undocumented reports the exported names of a declaration that neither the
// group nor their own lines say anything about.
func undocumented(t *testing.T, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				t.Errorf("%s: type %s is exported and has no comment", at(s), s.Name.Name)
			}
		case *ast.ValueSpec:
			if d.Doc != nil || s.Doc != nil || s.Comment != nil {
				continue
			}
			for _, name := range s.Names {
				if name.IsExported() {
					t.Errorf("%s: %s is exported and has no comment", at(s), name.Name)
				}
			}
		}
	}
}
