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
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
)

const (
	maxSource    = 64 << 10  // bytes of an expression
	maxRecursion = 128       // levels of nesting in an expression
	maxCost      = 1_000_000 // CEL's units for one evaluation
)

// maxLoop is what an evaluation with loops may take: its cost knows nothing of
// what our functions do with a long text. Tests set it.
var maxLoop = 3 * time.Second

// errTooLong is that it took longer.
var errTooLong = errors.New("it takes too long")

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
	// searches tells that there are regular expressions in it that may give up,
	// loops that it has macros.
	searches, loops bool
	// sure are conditions that must hold for one that CEL evaluates to hold.
	sure []cond
	slow cel.Program
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
	env, checked, err := check(source)
	if err != nil {
		return nil, err
	}
	p := &Program{source: source, caches: caches{patterns: patterns}}
	c := compiler{patterns: patterns}
	p.fast = c.compile(checked.NativeRep().Expr())
	p.warnings, p.searches = c.warnings, c.searches
	if p.fast == nil {
		p.sure = (&compiler{patterns: patterns}).sureParts(checked.NativeRep().Expr())
	}
	options := []cel.ProgramOption{cel.CostLimit(maxCost), cel.CostTracking(joined{}), cel.EvalOptions(cel.OptOptimize)}
	if p.loops = loops(checked.NativeRep().Expr()); p.loops {
		options = append(options, cel.InterruptCheckFrequency(1))
	}
	p.slow, err = env.Program(checked, options...)
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
	switch {
	case p.fast == nil:
		return p.interpret(doc)
	case p.searches:
		return p.search(doc)
	}
	return p.fast.eval(doc), nil
}

// search evaluates where a regular expression may give up.
func (p *Program) search(doc Doc) (ok bool, err error) {
	defer pattern.Recover(&err)
	return p.fast.eval(doc), nil
}

// interpret evaluates by CEL's interpreter.
func (p *Program) interpret(doc Doc) (bool, error) {
	out, err := p.value(doc)
	return err == nil && out == types.True, err
}

// value is what CEL's interpreter gives.
func (p *Program) value(doc Doc) (ref.Val, error) {
	vars := &activation{doc: document{Doc: doc, caches: &p.caches}}
	var out ref.Val
	var err error
	late := false
	if p.loops {
		vars.known = map[string]any{}
		// Once more where it was late: the process may have been stopped.
		for range 2 {
			ctx, cancel := context.WithTimeout(context.Background(), maxLoop)
			out, _, err = p.slow.ContextEval(ctx, vars)
			late = ctx.Err() != nil
			cancel()
			if !late {
				break
			}
		}
	} else {
		out, _, err = p.slow.Eval(vars)
	}
	switch {
	case err != nil && late:
		return nil, fmt.Errorf("evaluate: %w: %w", errTooLong, err)
	case err != nil:
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	return out, nil
}

// joined is the cost of texts that are put together, which CEL takes for one
// unit where it does not know before that they are texts.
type joined struct{}

func (joined) CallCost(function, _ string, _ []ref.Val, result ref.Val) *uint64 {
	text, ok := result.(types.String)
	if !ok || function != operators.Add {
		return nil
	}
	cost := uint64(1 + len(text)/64)
	return &cost
}

// loops reports whether there are macros such as all and exists in it.
func loops(e ast.Expr) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.ComprehensionKind
	}))
	return found
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
