package expr

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
)

// The kinds of findings.
const (
	BadRegexp         = "bad-regexp"
	UnknownPattern    = "unknown-pattern"
	BadArgument       = "bad-argument"
	PathNotQuoted     = "path-not-quoted"
	AlwaysFalse       = "always-false"
	AlwaysTrue        = "always-true"
	DeadCondition     = "dead-condition"
	MatchesEverything = "matches-everything"
	PathEscape        = "path-escape"
	DuplicateItem     = "duplicate-value"
)

// Finding is something in an expression that cannot be meant as it stands.
type Finding struct {
	Kind    string
	Offset  int // bytes into the source
	Message string
	Hint    string // how to cure it; may be empty
}

// Read is a path that an expression looks at.
type Read struct {
	Path   string
	Offset int // bytes into the source
}

// Analysis is what can be told of an expression without a document. It is not
// changed after Analyze.
type Analysis struct {
	Reads    []Read
	Findings []Finding
	formula  formula
}

// Analyze looks at an expression for those who check configuration. What it
// finds is certain: it never calls impossible what some document can bring
// about. The error is that of Compile; a *SyntaxError has places.
func Analyze(source string, patterns pattern.Set) (*Analysis, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("expression is longer than %d bytes", maxSource)
	}
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("expression is empty")
	}
	_, checked, err := check(source)
	if err != nil {
		return nil, err
	}
	w := &walker{source: source, ast: checked, patterns: patterns, bound: map[string]bool{}, result: &Analysis{}}
	e := checked.NativeRep().Expr()
	w.bind(e)
	w.walk(e)
	w.result.formula = w.formula(e)
	w.judge(e)
	return w.result, nil
}

// SourceOffset is the byte of a source that stands at a line and column of a
// Fault.
func SourceOffset(source string, line, column int) int {
	from := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(source[from:], '\n')
		if i < 0 {
			break
		}
		from += i + 1
	}
	for ; column > 1 && from < len(source); column-- {
		_, n := utf8.DecodeRuneInString(source[from:])
		from += n
	}
	return from
}

// walker goes through one expression.
type walker struct {
	source   string
	ast      *cel.Ast
	patterns pattern.Set
	bound    map[string]bool // the variables of macros
	result   *Analysis
	// settled is set where a finding says already why something is never true.
	settled bool
	tries   int   // of searches for dead parts
	runes   []int // offsets of every 64th character
}

func (w *walker) find(kind string, offset int, hint, format string, args ...any) {
	if kind == BadRegexp || kind == UnknownPattern || kind == BadArgument || kind == PathNotQuoted {
		w.settled = true
	}
	w.result.Findings = append(w.result.Findings, Finding{Kind: kind, Offset: offset, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// offset is where an expression stands; CEL counts characters.
func (w *walker) offset(e ast.Expr) int {
	span, ok := w.ast.NativeRep().SourceInfo().GetOffsetRange(e.ID())
	if !ok || span.Start < 0 {
		return 0
	}
	if w.runes == nil {
		n := 0
		for i := range w.source {
			if n%64 == 0 {
				w.runes = append(w.runes, i)
			}
			n++
		}
	}
	start := int(span.Start)
	if start/64 >= len(w.runes) {
		return 0
	}
	from := w.runes[start/64]
	for range start % 64 {
		_, n := utf8.DecodeRuneInString(w.source[from:])
		from += n
	}
	return from
}

// bind finds the variables that macros such as all() bring in.
func (w *walker) bind(e ast.Expr) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.ComprehensionKind {
			c := e.AsComprehension()
			for _, name := range []string{c.IterVar(), c.IterVar2(), c.AccuVar()} {
				w.bound[name] = true
			}
		}
	}))
}

// walk gathers what is read and checks arguments.
func (w *walker) walk(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind, ast.SelectKind:
		if path, ok := w.chain(e); ok {
			w.result.Reads = append(w.result.Reads, Read{path, w.first(e)})
			return
		}
		if e.Kind() == ast.SelectKind {
			w.walk(e.AsSelect().Operand())
		}
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			w.walk(call.Target())
		}
		args := call.Args()
		if ours(call) {
			w.call(call)
			args = args[2:]
		}
		for _, a := range args {
			w.walk(a)
		}
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			w.walk(item)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			w.walk(entry.AsMapEntry().Key())
			w.walk(entry.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		for _, part := range []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()} {
			w.walk(part)
		}
	}
}

// ours reports whether a call is one of the reference's functions.
func ours(call ast.CallExpr) bool {
	return functionNamed[call.FunctionName()] != nil && !call.IsMemberFunction() && len(call.Args()) >= 2 &&
		call.Args()[0].Kind() == ast.IdentKind && call.Args()[0].AsIdent() == docVar
}

// chain is the path that a name with selected fields reads: log.x.
func (w *walker) chain(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		name := strings.TrimPrefix(e.AsIdent(), ".")
		return name, !w.bound[name] && name != docVar && w.free(name)
	case ast.SelectKind:
		of, ok := w.chain(e.AsSelect().Operand())
		return of + "." + e.AsSelect().FieldName(), ok
	}
	return "", false
}

// free reports whether a name is a field of the document: those of types are
// not.
func (w *walker) free(name string) bool {
	env, err := baseEnv()
	if err != nil {
		return false
	}
	_, isType := env.CELTypeProvider().FindIdent(name)
	return !isType
}

// first is where a chain begins.
func (w *walker) first(e ast.Expr) int {
	for e.Kind() == ast.SelectKind {
		e = e.AsSelect().Operand()
	}
	return w.offset(e)
}

// call notes what one of our functions reads, and checks its arguments.
func (w *walker) call(call ast.CallExpr) {
	subject := call.Args()[1]
	text, constant := literal(subject).(types.String)
	switch {
	case constant && text == "":
		w.find(BadArgument, w.offset(subject), "write the path of a field in quotes", "%s: the path is empty", call.FunctionName())
	case constant:
		w.result.Reads = append(w.result.Reads, Read{string(text), w.offset(subject)})
	default:
		if path, ok := w.chain(subject); ok {
			w.find(PathNotQuoted, w.first(subject), fmt.Sprintf("did you mean %s(%q)?", call.FunctionName(), path),
				"%s: the path is not in quotes, so the value of %s is taken for a path", call.FunctionName(), path)
		} else {
			w.walk(subject)
		}
	}
	w.arguments(call)
}

// formula is a condition as far as its logic is understood.
func (w *walker) formula(e ast.Expr) formula {
	switch e.Kind() {
	case ast.LiteralKind:
		if b, ok := e.AsLiteral().(types.Bool); ok {
			return always(b)
		}
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			return open{}
		}
		args := call.Args()
		switch call.FunctionName() {
		case operators.LogicalAnd:
			return both{w.formula(args[0]), w.formula(args[1])}
		case operators.LogicalOr:
			return any1{w.formula(args[0]), w.formula(args[1])}
		case operators.LogicalNot:
			return opposite{w.formula(args[0])}
		}
		if a := w.atom(call); a != nil {
			return a
		}
	}
	return open{}
}

// atom is a question about one path with constant arguments; nil for any other.
func (w *walker) atom(call ast.CallExpr) *atom {
	if ours(call) {
		f := functionNamed[call.FunctionName()]
		path, args, ok := constants(call)
		if !ok || f.make == nil {
			return nil
		}
		a := &atom{path: path, offset: w.offset(call.Args()[1]), function: f.name}
		for _, arg := range args {
			a.args = append(a.args, goValue(arg))
		}
		a.test = f.make(&caches{patterns: w.patterns}, a.args)
		return a
	}
	args := call.Args()
	if len(args) != 2 || args[0].Kind() != ast.CallKind || !ours(args[0].AsCall()) {
		return nil
	}
	c := (&compiler{patterns: w.patterns}).comparison(call.FunctionName(), args[0], args[1])
	if c == nil {
		return nil
	}
	path, fallback, ok := constants(args[0].AsCall())
	if !ok || len(fallback) != 1 {
		return nil
	}
	return &atom{
		path: path, offset: w.offset(args[0].AsCall().Args()[1]), function: "safe",
		args: []any{call.FunctionName(), goValue(fallback[0]), goValue(literal(args[1]))},
		test: func(v tree.Value) bool { return c.eval(alone{path, v}) },
	}
}

// alone is a document of one value.
type alone struct {
	path  *tree.Path
	value tree.Value
}

func (d alone) Lookup(p *tree.Path) tree.Value {
	if p.Same(d.path) {
		return d.value
	}
	return tree.Value{}
}

func (d alone) Field(string) tree.Value { return tree.Value{} }
