package expr

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
)

// caches keep, for a program that CEL evaluates, what its calls work out from
// their arguments, so that an expression's constants are read once.
type caches struct {
	patterns pattern.Set
	paths    sync.Map // string -> *tree.Path
	tests    sync.Map // string -> test, or *pattern.Regexp of a matches
	size     atomic.Int32
	report   func(format string, args ...any)
	// slow is called for a test that may give up; nil once it is compiled.
	slow func()
}

// maxCached bounds a program's cache: arguments may come from documents.
const maxCached = 256

// room reports whether one more may be kept, and counts it. What finds none is
// not counted: in days the count would come round.
func (c *caches) room() bool {
	return c.size.Load() < maxCached && c.size.Add(1) <= maxCached
}

func (c *caches) warn(format string, args ...any) {
	if c.report != nil {
		c.report(format, args...)
	}
}

func (c *caches) path(text string) *tree.Path {
	if p, ok := c.paths.Load(text); ok {
		return p.(*tree.Path)
	}
	p := tree.ParsePath(text)
	if c.room() {
		c.paths.Store(text, p)
	}
	return p
}

// test works out a test; those whose making is dear are kept.
func (c *caches) test(f *function, args []any) test {
	text, ok := "", false
	if len(args) == 1 {
		text, ok = args[0].(string)
	}
	if !ok || f.name != "regexMatch" && f.name != "inCIDR" {
		return f.make(c, args)
	}
	key := f.name + "\x00" + text
	if t, ok := c.tests.Load(key); ok {
		return t.(test)
	}
	t := f.make(c, args)
	if c.room() {
		c.tests.Store(key, t)
	}
	return t
}

// declare makes the function known to CEL.
func (f *function) declare() cel.EnvOption {
	var overloads []cel.FunctionOpt
	for i, arguments := range f.arguments {
		result, call := cel.BoolType, f.call
		if f.result != nil {
			result, call = f.result[i], safe
		}
		id := "epmesh_" + f.name
		for _, a := range arguments {
			id += "_" + strings.ReplaceAll(strings.ReplaceAll(a.String(), "(", "_"), ")", "")
		}
		overloads = append(overloads, cel.Overload(id,
			append([]*cel.Type{docType, cel.StringType}, arguments...), result,
			cel.FunctionBinding(call)))
	}
	return cel.Function(f.name, overloads...)
}

func (f *function) call(args ...ref.Val) (result ref.Val) {
	var slow error
	defer func() {
		if slow != nil {
			result = types.WrapErr(slow)
		}
	}()
	defer pattern.Recover(&slow)
	d, value, err := subject(args)
	if err != nil {
		return types.WrapErr(err)
	}
	native := make([]any, len(args)-2)
	for i, a := range args[2:] {
		native[i] = goValue(a)
	}
	return types.Bool(d.test(f, native)(value))
}

// matches is CEL's function of that name, bounded in time: whether an
// expression matches anywhere in a text.
func matches(args ...ref.Val) (result ref.Val) {
	var slow error
	defer func() {
		if slow != nil {
			result = types.WrapErr(slow)
		}
	}()
	defer pattern.Recover(&slow)
	d, ok := args[0].(*document)
	text, isText := args[1].(types.String)
	source, isSource := args[2].(types.String)
	if !ok || !isText || !isSource {
		return types.NoSuchOverloadErr()
	}
	re, err := d.expression(string(source))
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(re.MatchString(string(text)))
}

// expression compiles a regular expression, once for each program.
func (c *caches) expression(source string) (*pattern.Regexp, error) {
	key := matchesName + "\x00" + source
	if re, ok := c.tests.Load(key); ok {
		return re.(*pattern.Regexp), nil
	}
	re, err := pattern.Compile(source)
	if err == nil && c.room() {
		c.tests.Store(key, re)
	}
	return re, err
}

// subject is the document of a call and what stands at its path.
func subject(args []ref.Val) (*document, tree.Value, error) {
	d, ok := args[0].(*document)
	if !ok {
		return nil, tree.Value{}, fmt.Errorf("no document")
	}
	path, ok := args[1].(types.String)
	if !ok {
		return nil, tree.Value{}, fmt.Errorf("path is no string")
	}
	return d, d.Lookup(d.path(string(path))), nil
}

// safe is the field, or a default where it is missing or of another type.
func safe(args ...ref.Val) ref.Val {
	_, v, err := subject(args)
	if err != nil {
		return types.WrapErr(err)
	}
	switch args[2].(type) {
	case types.String:
		if v.Kind == tree.String {
			return types.String(v.Text)
		}
	case types.Double, types.Int:
		if f, ok := numeric(v); ok {
			return types.Double(f)
		}
	case types.Bool:
		if v.Kind == tree.True || v.Kind == tree.False {
			return types.Bool(v.Kind == tree.True)
		}
	}
	return args[2]
}

// goValue is an argument as tests are made from; nil where tests know no such
// type.
func goValue(v ref.Val) any {
	switch v := v.(type) {
	case types.String:
		return string(v)
	case types.Int:
		return int64(v)
	case types.Double:
		return float64(v)
	case types.Bool:
		return bool(v)
	case traits.Lister:
		var items []any
		for it := v.Iterator(); it.HasNext() == types.True; {
			items = append(items, goValue(it.Next()))
		}
		if items == nil {
			items = []any{}
		}
		return items
	}
	return nil
}
