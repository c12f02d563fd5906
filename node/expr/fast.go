package expr

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
)

// cond is an expression that needs no interpreter. None of them can fail, but
// for a regular expression that gives up on a text, so that the order of
// evaluation does not show.
type cond interface{ eval(doc Doc) bool }

type (
	and    []cond
	or     []cond
	not    struct{ of cond }
	fixed  bool
	lookup struct {
		path *tree.Path
		test test
		// equal is set where the test is nothing but equality with one of
		// these.
		equal []constant
		// need is what the test needs of the field; nil where that is not known.
		need *need
	}
)

func (c and) eval(doc Doc) bool {
	for _, each := range c {
		if !each.eval(doc) {
			return false
		}
	}
	return true
}

func (c or) eval(doc Doc) bool {
	for _, each := range c {
		if each.eval(doc) {
			return true
		}
	}
	return false
}

func (c not) eval(doc Doc) bool     { return !c.of.eval(doc) }
func (c fixed) eval(Doc) bool       { return bool(c) }
func (c *lookup) eval(doc Doc) bool { return c.test(doc.Lookup(c.path)) }

// compiler turns a checked expression into conds.
type compiler struct {
	patterns pattern.Set
	warnings []string
	searches bool // a test may give up
}

// compile gives nil for what only CEL can evaluate.
func (c *compiler) compile(e ast.Expr) cond {
	switch e.Kind() {
	case ast.LiteralKind:
		if b, ok := e.AsLiteral().(types.Bool); ok {
			return fixed(b)
		}
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			return nil
		}
		switch args := call.Args(); call.FunctionName() {
		case operators.LogicalAnd:
			left, right := c.compile(args[0]), c.compile(args[1])
			if left == nil || right == nil {
				return nil
			}
			return join[and](left, right)
		case operators.LogicalOr:
			left, right := c.compile(args[0]), c.compile(args[1])
			if left == nil || right == nil {
				return nil
			}
			return either(left, right)
		case operators.LogicalNot:
			if of := c.compile(args[0]); of != nil {
				return not{of}
			}
		case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals,
			operators.Greater, operators.GreaterEquals, operators.In:
			return c.comparison(call.FunctionName(), args[0], args[1])
		default:
			return c.call(call)
		}
	}
	return nil
}

// join makes one list of nested conjunctions or disjunctions.
func join[L interface {
	~[]cond
	cond
}](left, right cond,
) cond {
	var all L
	for _, each := range []cond{left, right} {
		if list, ok := each.(L); ok {
			all = append(all, list...)
		} else {
			all = append(all, each)
		}
	}
	return all
}

// either makes one question of several equalities with the same field.
func either(left, right cond) cond {
	before := cond(nil)
	last := left
	if list, ok := left.(or); ok {
		before, last = list[:len(list)-1], list[len(list)-1]
	}
	a, okA := last.(*lookup)
	b, okB := right.(*lookup)
	if !okA || !okB || a.equal == nil || b.equal == nil || !a.path.Same(b.path) {
		return join[or](left, right)
	}
	merged := &lookup{path: a.path, equal: slices.Concat(a.equal, b.equal)}
	merged.test = anyOf(merged.equal)
	if before == nil {
		return merged
	}
	return join[or](before, merged)
}

// call compiles one of our functions with constant arguments.
func (c *compiler) call(call ast.CallExpr) cond {
	f := functionNamed[call.FunctionName()]
	if f == nil || f.make == nil {
		return nil
	}
	path, args, ok := constants(call)
	if !ok {
		return nil
	}
	from := caches{patterns: c.patterns, report: func(format string, a ...any) {
		c.warnings = append(c.warnings, fmt.Sprintf(format, a...))
	}, slow: func() { c.searches = true }}
	native := make([]any, len(args))
	for i, a := range args {
		native[i] = goValue(a)
	}
	l := &lookup{path: path, test: f.make(&from, native), need: c.needOf(f.name, path, native)}
	switch f.name {
	case "equals":
		l.equal = []constant{newConstant(native[0])}
	case "oneOf":
		for _, item := range native[0].([]any) {
			l.equal = append(l.equal, newConstant(item))
		}
	}
	return l
}

// constants are the path and the arguments of a call of ours, where all of
// them are constant.
func constants(call ast.CallExpr) (*tree.Path, []ref.Val, bool) {
	args := call.Args()
	if len(args) < 2 || args[0].Kind() != ast.IdentKind || args[0].AsIdent() != docVar {
		return nil, nil, false
	}
	var values []ref.Val
	for _, a := range args[1:] {
		v := literal(a)
		if v == nil {
			return nil, nil, false
		}
		values = append(values, v)
	}
	path, ok := values[0].(types.String)
	if !ok {
		return nil, nil, false
	}
	return tree.ParsePath(string(path)), values[1:], true
}

// literal is the value of a constant, of a list of constants, and of double()
// of a whole number; nil for anything else.
func literal(e ast.Expr) ref.Val {
	switch e.Kind() {
	case ast.LiteralKind:
		return e.AsLiteral()
	case ast.ListKind:
		if len(e.AsList().OptionalIndices()) > 0 {
			return nil
		}
		items := make([]ref.Val, 0, e.AsList().Size())
		for _, item := range e.AsList().Elements() {
			v := literal(item)
			if v == nil {
				return nil
			}
			items = append(items, v)
		}
		return types.NewRefValList(types.DefaultTypeAdapter, items)
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() == "double" && !call.IsMemberFunction() && len(call.Args()) == 1 {
			if i, ok := literal(call.Args()[0]).(types.Int); ok {
				return types.Double(i)
			}
		}
	}
	return nil
}
