package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/epmesh/epmesh/node/tree"
)

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
		return &lookup{path: path, test: func(v tree.Value) bool {
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
		return &lookup{path: path, test: func(v tree.Value) bool {
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
