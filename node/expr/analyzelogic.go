package expr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"github.com/epmesh/epmesh/node/tree"
)

// formula is a condition made of questions about single paths.
type formula interface{}

type (
	always   bool     // known
	open     struct{} // may be either
	both     struct{ a, b formula }
	any1     struct{ a, b formula }
	opposite struct{ of formula }
	// atom is one question.
	atom struct {
		path     *tree.Path
		offset   int
		function string
		args     []any // of safe: the operator, the default, the constant
		test     test
		id       string
	}
	// claim is an atom, or its opposite.
	claim struct {
		*atom
		holds bool
	}
)

// maxTries bounds the search for a way in which a formula can be true.
const maxTries = 20_000

// search looks for a way in which a formula can be true.
type search struct {
	tries int
	// clash is the first contradiction that was met.
	clash [2]claim
}

// possible reports whether all formulas can be true together. It says yes where
// it does not know.
func (s *search) possible(todo []want, claims []claim) bool {
	for len(todo) > 0 {
		if s.tries++; s.tries > maxTries {
			return true
		}
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch f := next.formula.(type) {
		case always:
			if bool(f) != next.holds {
				return false
			}
		case opposite:
			todo = append(todo, want{f.of, !next.holds})
		case both:
			if next.holds {
				todo = append(todo, want{f.b, true}, want{f.a, true})
				continue
			}
			return s.possible(with(todo, f.a, false), claims) || s.possible(with(todo, f.b, false), claims)
		case any1:
			if !next.holds {
				todo = append(todo, want{f.b, false}, want{f.a, false})
				continue
			}
			return s.possible(with(todo, f.a, true), claims) || s.possible(with(todo, f.b, true), claims)
		case *atom:
			c := claim{f, next.holds}
			if other, ok := clash(claims, c); !ok {
				if s.clash[0].atom == nil {
					s.clash = [2]claim{other, c}
				}
				return false
			}
			claims = append(slices.Clip(claims), c)
		}
	}
	return true
}

// want is a formula that is to be true or false.
type want struct {
	formula
	holds bool
}

func with(todo []want, f formula, holds bool) []want {
	return append(slices.Clone(todo), want{f, holds})
}

// judge finds what is never or always true, unless it is known already why.
func (w *walker) judge(e ast.Expr) {
	f := w.result.formula
	if _, literal := f.(always); literal || w.settled {
		return
	}
	var s search
	if !s.possible([]want{{f, true}}, nil) {
		at, why := w.why(s)
		w.find(AlwaysFalse, at, "", "the condition can never be true%s", why)
		return
	}
	s = search{}
	if !s.possible([]want{{f, false}}, nil) {
		at, _ := w.why(s)
		w.find(AlwaysTrue, at, "&& in the place of || may be meant", "the condition is always true")
		return
	}
	w.parts(f, true)
}

// parts finds alternatives that can never be true.
func (w *walker) parts(f formula, holds bool) {
	switch f := f.(type) {
	case opposite:
		w.parts(f.of, !holds)
	case both:
		w.pair(f.a, f.b, holds, !holds)
	case any1:
		w.pair(f.a, f.b, holds, holds)
	}
}

func (w *walker) pair(a, b formula, holds, alternatives bool) {
	for _, part := range []formula{a, b} {
		if alternatives && !alternates(part, holds) {
			s := search{tries: w.tries}
			possible := s.possible([]want{{part, holds}}, nil)
			if w.tries = s.tries; !possible && s.clash[0].atom != nil {
				at, why := w.why(s)
				w.find(DeadCondition, at, "", "this part of the condition can never be true%s", why)
				continue
			}
		}
		w.parts(part, holds)
	}
}

// alternates reports whether a formula is itself made of alternatives, which are
// looked at one by one.
func alternates(f formula, holds bool) bool {
	switch f := f.(type) {
	case opposite:
		return alternates(f.of, !holds)
	case both:
		return !holds
	case any1:
		return holds
	}
	return false
}

// why names two claims that contradict each other, and where the later stands.
func (w *walker) why(s search) (int, string) {
	a, b := s.clash[0], s.clash[1]
	if a.atom == nil {
		return 0, ""
	}
	if a.atom == b.atom {
		return b.offset, ": " + b.String()
	}
	if a.offset > b.offset {
		a, b = b, a
	}
	return b.offset, fmt.Sprintf(": %s contradicts %s", b, a)
}

// String is a claim as it may be written.
func (c claim) String() string {
	not := ""
	if !c.holds {
		not = "!"
	}
	if c.function == "safe" {
		op := map[any]string{
			operators.Equals: "==", operators.NotEquals: "!=", operators.Less: "<", operators.LessEquals: "<=",
			operators.Greater: ">", operators.GreaterEquals: ">=", operators.In: "in",
		}[c.args[0]]
		return fmt.Sprintf("%ssafe(%q, %s) %s %s", not, c.path, show(c.args[1]), op, show(c.args[2]))
	}
	text := not + c.function + "(" + strconv.Quote(c.path.String())
	for _, a := range c.args {
		text += ", " + show(a)
	}
	return text + ")"
}

func show(v any) string {
	switch v := v.(type) {
	case string:
		if len(v) > 40 {
			v = v[:40] + "..."
		}
		return strconv.Quote(v)
	case []any:
		if len(v) > 3 {
			return "[...]"
		}
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = show(item)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// MayHoldWithout reports whether the condition can be true for a document in
// which nothing stands at such paths. It says yes where it does not know.
func (a *Analysis) MayHoldWithout(missing func(path string) bool) bool {
	return new(search).possible([]want{{without(a.formula, missing), true}}, nil)
}

// without puts the answers of questions about missing paths in.
func without(f formula, missing func(path string) bool) formula {
	switch f := f.(type) {
	case opposite:
		return opposite{without(f.of, missing)}
	case both:
		return both{without(f.a, missing), without(f.b, missing)}
	case any1:
		return any1{without(f.a, missing), without(f.b, missing)}
	case *atom:
		if missing(f.path.String()) {
			return always(f.test(tree.Value{}))
		}
	}
	return f
}

// OnlyExists is the path of a condition that is nothing but exists(path); ""
// for any other.
func (a *Analysis) OnlyExists() string {
	if f, ok := a.formula.(*atom); ok && f.function == "exists" {
		return f.path.String()
	}
	return ""
}

// AlwaysHolds reports whether the condition is known to hold for every document.
func (a *Analysis) AlwaysHolds() bool {
	return !new(search).possible([]want{{a.formula, false}}, nil)
}
