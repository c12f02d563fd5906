package expr

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
)

// need is something about one field without which a condition cannot hold: it
// equals one of some constants, or is a text with one of some texts in it, or,
// where neither is given, exists.
type need struct {
	path  *tree.Path
	equal []constant
	texts []string // in lower case, as pattern.Literals has them
	// folded tells that a text may stand there in letters beyond ASCII.
	folded bool
}

// needs are such that one of them must be met. None at all says that the
// condition never holds.
type needs []need

const (
	maxNeeds   = 64 // alternatives of a condition that are still worth asking
	maxLiteral = 16 // bytes of a text that are looked for
)

// worth tells how seldom the needs are met by chance, about.
func (n needs) worth() int {
	if len(n) == 0 {
		return 1000
	}
	least := 1000
	for i := range n {
		least = min(least, n[i].worth())
	}
	return least
}

func (n *need) worth() int {
	switch {
	case n.equal != nil:
		return 100
	case n.texts != nil:
		shortest := maxLiteral
		for _, text := range n.texts {
			shortest = min(shortest, len(text))
		}
		return 10 + 3*shortest
	}
	return 1
}

// needs are those of the whole program; false where it may hold whatever the
// document.
func (p *Program) needs() (needs, bool) {
	if p.fast != nil {
		return needsOf(p.fast)
	}
	return bestOf(p.sure)
}

func bestOf(all []cond) (best needs, ok bool) {
	for _, each := range all {
		if n, sure := needsOf(each); sure && (!ok || n.worth() > best.worth()) {
			best, ok = n, true
		}
	}
	return best, ok
}

func needsOf(c cond) (needs, bool) {
	switch c := c.(type) {
	case fixed:
		return nil, !bool(c)
	case and:
		return bestOf(c)
	case or:
		var all needs
		for _, each := range c {
			n, sure := needsOf(each)
			if !sure || len(all)+len(n) > maxNeeds {
				return nil, false
			}
			all = append(all, n...)
		}
		return all, true
	case *lookup:
		if c.path.Special() {
			return nil, false
		}
		if c.equal != nil {
			return needs{{path: c.path, equal: c.equal}}, true
		}
		if c.need != nil {
			return needs{*c.need}, true
		}
	}
	return nil, false
}

// needOf is what a call of one of our functions needs; nil where it may hold for
// a field that is missing.
func (c *compiler) needOf(name string, path *tree.Path, args []any) *need {
	n := &need{path: path}
	switch name {
	case "safe":
		return nil
	case "equalsIgnoreCase", "contains", "startsWith", "endsWith":
		n.texts = slices.Clone(texts(args[0]))
		n.folded = name == "equalsIgnoreCase"
	case "containsAll":
		for _, text := range texts(args[0]) {
			if n.texts == nil || len(text) > len(n.texts[0]) {
				n.texts = []string{text}
			}
		}
	case "regexMatch":
		if source, ok := args[0].(string); ok {
			if l, ok := c.patterns.Literals(source); ok {
				n.texts, n.folded = l.Texts, l.Folded
			}
		}
	}
	for i, text := range n.texts {
		text = pattern.Lower(text)
		if n.folded {
			text = ascii(text)
		}
		if n.texts[i] = text[:min(len(text), maxLiteral)]; n.texts[i] == "" {
			n.texts = nil // stands in every text
			break
		}
	}
	return n
}

// ascii is the beginning of a text up to what is not ASCII.
func ascii(text string) string {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return text[:i]
		}
	}
	return text
}

// sureParts are the parts that && joins at the top of an expression which needs
// the interpreter, as far as they need none themselves: where one of them is
// false the whole is, whatever becomes of the others, which may fail.
func (c *compiler) sureParts(e ast.Expr) []cond {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		args := e.AsCall().Args()
		return append(c.sureParts(args[0]), c.sureParts(args[1])...)
	}
	if part := c.compile(e); part != nil {
		return []cond{part}
	}
	return nil
}
