// Package expr evaluates the conditions of pipeline steps and rules: CEL with
// the reference engine's functions, whose first argument is a path into the
// document. It is the only importer of CEL.
//
// An expression is compiled once. Where it is made of function calls with
// constant arguments under &&, || and !, as nearly all are, CEL only checks it
// and a small tree of Go functions evaluates it; anything else runs in CEL's
// interpreter under a cost limit. Both give the same results.
package expr

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
)

const (
	maxSource    = 64 << 10  // bytes of an expression
	maxRecursion = 128       // levels of nesting in an expression
	maxCost      = 1_000_000 // CEL's units for one evaluation
)

// Doc is a document that expressions are evaluated over.
type Doc interface {
	// Lookup is the value at a path.
	Lookup(p *tree.Path) tree.Value
	// Field is the value of a top-level field: a CEL variable.
	Field(name string) tree.Value
}

// Program is a compiled expression. Its methods may be called by many
// goroutines at once.
type Program struct {
	source string
	fast   cond // nil: CEL evaluates
	slow   cel.Program
	caches
	warnings []string
}

// Compile checks and compiles an expression. patterns are what {{.name}} in
// regexMatch means besides the built-in set.
func Compile(source string, patterns map[string]string) (*Program, error) {
	return CompileWith(source, pattern.New(patterns))
}

// CompileWith is Compile with patterns that were put together before.
func CompileWith(source string, patterns pattern.Set) (*Program, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("expression is longer than %d bytes", maxSource)
	}
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("expression is empty")
	}
	env, ast, err := check(source)
	if err != nil {
		return nil, err
	}
	p := &Program{source: source, caches: caches{patterns: patterns}}
	c := compiler{patterns: patterns}
	p.fast = c.compile(ast.NativeRep().Expr())
	p.warnings = c.warnings
	p.slow, err = env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("expression: %w", err)
	}
	return p, nil
}

// String is the expression's source.
func (p *Program) String() string { return p.source }

// Warnings says what in the expression can never be true as it is written, for
// those who check configuration.
func (p *Program) Warnings() []string { return p.warnings }

// Eval reports whether the expression holds for a document. A result that is
// no boolean is false.
func (p *Program) Eval(doc Doc) (bool, error) {
	if p.fast != nil {
		return p.fast.eval(doc), nil
	}
	return p.interpret(doc)
}

// interpret evaluates by CEL's interpreter.
func (p *Program) interpret(doc Doc) (bool, error) {
	out, _, err := p.slow.Eval(&activation{document{Doc: doc, caches: &p.caches}})
	if err != nil {
		return false, fmt.Errorf("evaluate: %w", err)
	}
	return out == types.True, nil
}

// FromJSON makes a document of a JSON object. It is bounded as pipeline drafts
// are, and may be read by many goroutines at once.
func FromJSON(b []byte) (Doc, error) {
	t := tree.New(tree.Limits{})
	if err := t.Parse(string(b)); err != nil {
		return nil, err
	}
	return t, nil
}
