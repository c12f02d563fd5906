package expr

import (
	"fmt"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
)

// cond is an expression that needs no interpreter. None of them can fail, so
// that the order of evaluation does not show.
type cond interface{ eval(doc Doc) bool }

type (
	and    []cond
	or     []cond
	not    struct{ of cond }
	fixed  bool
	lookup struct {
		path *tree.Path
		test test
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
			return join[or](left, right)
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
	}}
	native := make([]any, len(args))
	for i, a := range args {
		native[i] = goValue(a)
	}
	return &lookup{path, f.make(&from, native)}
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

// comparison compiles safe(path, default) compared with a constant: the text or
// number of the field, or the default, against the constant.
func (c *compiler) comparison(op string, left, right ast.Expr) cond {
	if left.Kind() != ast.CallKind || left.AsCall().FunctionName() != "safe" {
		return nil
	}
	path, args, ok := constants(left.AsCall())
	if !ok || len(args) != 1 {
		return nil
	}
	want := literal(right)
	switch fallback := args[0].(type) {
	case types.String:
		fits := textComparison(op, want)
		if fits == nil {
			return nil
		}
		otherwise := fits(string(fallback))
		return &lookup{path, func(v tree.Value) bool {
			if v.Kind != tree.String {
				return otherwise
			}
			return fits(v.Text)
		}}
	case types.Double:
		fits := numberComparison(op, want)
		if fits == nil {
			return nil
		}
		otherwise := fits(float64(fallback))
		return &lookup{path, func(v tree.Value) bool {
			f, ok := numeric(v)
			if !ok {
				return otherwise
			}
			return fits(f)
		}}
	}
	return nil
}

func textComparison(op string, want ref.Val) func(string) bool {
	switch want := want.(type) {
	case types.String:
		text := string(want)
		switch op {
		case operators.Equals:
			return func(s string) bool { return s == text }
		case operators.NotEquals:
			return func(s string) bool { return s != text }
		}
	case traits.Lister:
		if op != operators.In {
			return nil
		}
		set := map[string]bool{}
		for _, item := range goValue(want).([]any) {
			text, ok := item.(string)
			if !ok {
				return nil
			}
			set[text] = true
		}
		return func(s string) bool { return set[s] }
	}
	return nil
}

func numberComparison(op string, want ref.Val) func(float64) bool {
	number, ok := want.(types.Double)
	if !ok {
		return nil
	}
	n := float64(number)
	switch op {
	case operators.Equals:
		return func(f float64) bool { return f == n }
	case operators.NotEquals:
		return func(f float64) bool { return f != n }
	case operators.Less:
		return func(f float64) bool { return f < n }
	case operators.LessEquals:
		return func(f float64) bool { return f <= n }
	case operators.Greater:
		return func(f float64) bool { return f > n }
	case operators.GreaterEquals:
		return func(f float64) bool { return f >= n }
	}
	return nil
}
