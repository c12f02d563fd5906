package expr

import (
	"slices"
	"strings"
)

// Conjuncts are the parts of an expression that && joins at its top, each as a
// program of its own, for those who explain why it did not hold. It is nil
// where there is only one, or where the text does not show the parts plainly.
func (p *Program) Conjuncts() []*Program {
	texts := conjuncts(p.source)
	if len(texts) < 2 {
		return nil
	}
	list := make([]*Program, len(texts))
	for i, text := range texts {
		part, err := CompileWith(text, p.patterns)
		if err != nil {
			return nil
		}
		list[i] = part
	}
	return list
}

// conjuncts cuts an expression at every && that stands in no brackets but those
// around a whole part. An expression with other operators of less weight at its
// top, and one with a comment, is left whole.
func conjuncts(source string) []string {
	source = strings.TrimSpace(source)
	var parts []string
	depth, from := 0, 0
	whole := strings.HasPrefix(source, "(") // the first bracket closes at the end
	for i := 0; i < len(source); {
		switch c := source[i]; {
		case c == '"' || c == '\'':
			end := literalEnd(source, i)
			if end < 0 {
				return nil
			}
			i = end
			continue
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			if depth--; depth == 0 && i < len(source)-1 {
				whole = false
			}
		case strings.HasPrefix(source[i:], "//"):
			return nil
		case depth == 0 && (c == '?' || strings.HasPrefix(source[i:], "||")):
			return []string{source}
		case depth == 0 && strings.HasPrefix(source[i:], "&&"):
			parts = append(parts, conjuncts(source[from:i])...)
			i += 2
			from = i
			continue
		}
		i++
	}
	switch {
	case from > 0:
		return append(parts, conjuncts(source[from:])...)
	case whole && strings.HasSuffix(source, ")"):
		return conjuncts(source[1 : len(source)-1])
	}
	return []string{source}
}

// literalEnd is behind the string literal that begins at i, -1 if it has no end.
func literalEnd(source string, i int) int {
	raw := i > 0 && strings.IndexByte("rR", source[i-1]) >= 0
	quote := source[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(source[i:], triple) {
		quote = triple
	}
	for i += len(quote); i < len(source); i++ {
		switch {
		case strings.HasPrefix(source[i:], quote):
			return i + len(quote)
		case source[i] == '\\' && !raw:
			i++
		}
	}
	return -1
}

// Reads are the paths that the expression looks at, each once, for those who
// explain what became of it.
func (p *Program) Reads() []string {
	a, err := Analyze(p.source, p.patterns)
	if err != nil {
		return nil
	}
	var paths []string
	for _, read := range a.Reads {
		if !slices.Contains(paths, read.Path) {
			paths = append(paths, read.Path)
		}
	}
	return paths
}
