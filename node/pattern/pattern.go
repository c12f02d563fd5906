// Package pattern holds the named regular expressions that grok steps, trim
// steps and regexMatch refer to as {{.name}}: a built-in set, and over it what
// the configuration says.
package pattern

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

const (
	maxDepth = 10       // of references in references
	maxText  = 64 << 10 // bytes of an expression after expansion
	maxInst  = 50_000   // instructions of a compiled expression
)

// Set is the patterns by name. It is not changed after New.
type Set struct{ named map[string]string }

// New is the built-in set with more patterns over it, which win.
func New(more map[string]string) Set {
	named := maps.Clone(builtin)
	maps.Copy(named, more)
	return Set{named}
}

// Names are the known names, sorted.
func (s Set) Names() []string { return slices.Sorted(maps.Keys(s.named)) }

// Compile expands an expression and compiles it (RE2 syntax).
func (s Set) Compile(text string) (*Regexp, error) {
	text, err := s.Expand(text)
	if err != nil {
		return nil, err
	}
	return Compile(text)
}

// Compile compiles an expression that is expanded already. It bounds the size
// of the compiled form: matching costs its product with the text's length.
func Compile(text string) (*Regexp, error) {
	r := &Regexp{}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err == nil {
		var prog *syntax.Prog
		if prog, err = syntax.Compile(parsed.Simplify()); err == nil {
			if r.size = len(prog.Inst); r.size > maxInst {
				return nil, errors.New("regular expression too large")
			}
			r.re, err = regexp.Compile(text)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	return r, nil
}

// Expand replaces {{.name}} by the pattern of that name, up to ten deep.
func (s Set) Expand(text string) (string, error) {
	for range maxDepth {
		next, found, err := s.expandOnce(text)
		if err != nil {
			return "", err
		}
		if !found {
			return text, nil
		}
		text = next
	}
	if _, found, _ := s.expandOnce(text); found {
		return "", fmt.Errorf("patterns refer to each other more than %d deep", maxDepth)
	}
	return text, nil
}

// UnknownError is the error of an expression that refers to a pattern which is
// not there.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string { return "unknown pattern {{." + e.Name + "}}" }

// reference is {{.name}} as a Go template may write it.
var reference = regexp.MustCompile(`\{\{-?\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}`)

func (s Set) expandOnce(text string) (string, bool, error) {
	if !strings.Contains(text, "{{") {
		return text, false, nil
	}
	refs := reference.FindAllStringSubmatchIndex(text, -1)
	if refs == nil {
		return text, false, nil
	}
	var b strings.Builder
	from := 0
	for _, ref := range refs {
		name := text[ref[2]:ref[3]]
		p, ok := s.named[name]
		if !ok {
			return "", false, &UnknownError{Name: name}
		}
		b.WriteString(text[from:ref[0]])
		b.WriteString(p)
		if from = ref[1]; b.Len() > maxText {
			return "", false, errors.New("expression too long after its patterns are put in")
		}
	}
	b.WriteString(text[from:])
	return b.String(), true, nil
}
