package expr

import (
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/parser"
)

// docVar is the variable that every call of ours gets as its first argument.
// No expression can name it, since it is no identifier of CEL.
const docVar = "@doc"

var docType = cel.ObjectType("document")

// baseEnv is CEL's standard library with our functions. A call such as
// exists("a") is read as exists(@doc, "a") with the parser's macros.
var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.Variable(docVar, docType),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.ParserRecursionLimit(maxRecursion),
		cel.CrossTypeNumericComparisons(true),
		// CEL's own matches knows no end.
		cel.Function(matchesName, cel.Overload("epmesh_matches",
			[]*cel.Type{docType, cel.StringType, cel.StringType}, cel.BoolType, cel.FunctionBinding(matches))),
		cel.Macros(cel.ReceiverMacro("matches", 1, withDocAndTarget), cel.GlobalMacro("matches", 2, withDoc(matchesName))),
	}
	for _, f := range functions {
		options = append(options, f.declare(),
			cel.Macros(cel.GlobalVarArgMacro(f.name, withDoc(f.name))))
	}
	return cel.NewEnv(options...)
})

func withDoc(name string) cel.MacroFactory {
	return func(eh parser.ExprHelper, _ ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
		return eh.NewCall(name, append([]ast.Expr{eh.NewIdent(docVar)}, args...)...), nil
	}
}

// matchesName is the function that CEL's matches becomes.
const matchesName = "@matches"

func withDocAndTarget(eh parser.ExprHelper, target ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
	return eh.NewCall(matchesName, eh.NewIdent(docVar), target, args[0]), nil
}

// check parses and checks an expression. A name that is free in it is a field
// of the document, of any type.
func check(source string) (*cel.Env, *cel.Ast, error) {
	env, err := baseEnv()
	if err != nil {
		return nil, nil, fmt.Errorf("expression environment: %w", err)
	}
	parsed, issues := env.Parse(source)
	if err := issuesError(issues); err != nil {
		return nil, nil, err
	}
	var variables []cel.EnvOption
	known := map[string]bool{docVar: true}
	ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.IdentKind {
			return
		}
		name := strings.TrimPrefix(e.AsIdent(), ".")
		if _, isType := env.CELTypeProvider().FindIdent(name); isType || known[name] || strings.HasPrefix(name, "@") {
			return
		}
		known[name] = true
		variables = append(variables, cel.Variable(name, cel.DynType))
	}))
	if variables != nil {
		if env, err = env.Extend(variables...); err != nil {
			return nil, nil, fmt.Errorf("expression: %w", err)
		}
	}
	checked, issues := env.Check(parsed)
	return env, checked, issuesError(issues)
}

// SyntaxError is what forbids an expression, with its places.
type SyntaxError struct {
	Faults []Fault
	text   string
}

func (e *SyntaxError) Error() string { return e.text }

// Fault is one mistake in an expression. Line and Column, in characters, count
// from 1.
type Fault struct {
	Line, Column int
	Message      string
}

// issuesError gives CEL's findings in one line.
func issuesError(issues *cel.Issues) error {
	if issues == nil || issues.Err() == nil {
		return nil
	}
	var found []string
	faults := &SyntaxError{}
	for i, e := range issues.Errors() {
		if i == 3 {
			found = append(found, "...")
			break
		}
		message := strings.ReplaceAll(strings.ReplaceAll(e.Message, matchesName, "matches"), "(document, ", "(")
		message = strings.ReplaceAll(message, "(document)", "()")
		if len(message) > 200 {
			message = message[:200] + "..."
		}
		faults.Faults = append(faults.Faults, Fault{e.Location.Line(), e.Location.Column() + 1, strings.ToValidUTF8(message, "?")})
		found = append(found, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, message))
	}
	faults.text = "expression: " + strings.ToValidUTF8(strings.Join(found, "; "), "?")
	return faults
}

// activation resolves names in a document.
type activation struct {
	doc document
	// known are the values that a loop asks for again and again.
	known map[string]any
}

func (a *activation) ResolveName(name string) (any, bool) {
	if name == docVar {
		return &a.doc, true
	}
	if v, ok := a.known[name]; ok {
		return v, true
	}
	field := a.doc.Field(name)
	v := celValue(field)
	if a.known != nil && field.Exists() {
		a.known[name] = v
	}
	return v, field.Exists()
}

func (a *activation) Parent() cel.Activation { return nil }

// document is the value of docVar. CEL only carries it to our functions.
type document struct {
	Doc
	*caches
	ref.Val
}

func (d *document) Type() ref.Type { return docType }
func (d *document) Value() any     { return d }

func (d *document) Equal(ref.Val) ref.Val { return types.False }
