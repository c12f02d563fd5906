package config

import (
	"bytes"
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// editor changes mappings of a YAML text line by line, as the parser's own
// writer would write the whole text anew. It works where keys stand in lines of
// their own; whoever uses it reads the result again.
type editor struct {
	lines []string // with their ends
	end   string   // of a new line
	edits []edit
}

// edit replaces the lines from one up to another, counted from 0.
type edit struct {
	from, to int
	text     string
}

func newEditor(data []byte) *editor {
	e := &editor{end: "\n", lines: splitLines(string(data))}
	if len(e.lines) > 0 && strings.HasSuffix(e.lines[0], "\r\n") {
		e.end = "\r\n"
	}
	return e
}

// lineEnd is where a line ends for the YAML parser.
var lineEnd = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

func splitLines(text string) []string {
	var lines []string
	for text != "" {
		at := lineEnd.FindStringIndex(text)
		if at == nil {
			at = []int{0, len(text)}
		}
		lines, text = append(lines, text[:at[1]]), text[at[1]:]
	}
	return lines
}

// replace changes the wants of the i-th case.
func (e *editor) replace(root *yaml.Node, i int, old, wanted map[string]any) error {
	for _, key := range wantKeys {
		for _, m := range []map[string]any{old, wanted} {
			if v, ok := m[key].(map[string]any); ok && len(v) == 0 {
				m[key] = emptyMapping{}
			}
		}
	}
	cases := child(root, "cases", true)
	if cases == nil || cases.Kind != yaml.SequenceNode || cases.Style&yaml.FlowStyle != 0 {
		return errEdit
	}
	n := cases.Content[i]
	last := len(e.lines)
	if i+1 < len(cases.Content) {
		last = cases.Content[i+1].Line - 1
	} else {
		for j := 0; j+1 < len(root.Content); j += 2 {
			if at := root.Content[j].Line - 1; at >= n.Line {
				last = min(last, at)
			}
		}
	}
	if n.Kind != yaml.MappingNode {
		return errEdit
	}
	if n.Style&yaml.FlowStyle != 0 || !e.mapping(n, last, old, wanted) {
		return e.item(n, last, old, wanted)
	}
	return nil
}

// emptyMapping is an empty mapping, which is written as {} and never edited
// key by key.
type emptyMapping struct{}

// mapping makes a block mapping say other values. It reports false, and has
// done nothing, where it cannot.
func (e *editor) mapping(n *yaml.Node, last int, old, wanted map[string]any) bool {
	before := len(e.edits)
	ok := e.tryMapping(n, last, old, wanted)
	if !ok {
		e.edits = e.edits[:before]
	}
	return ok
}

func (e *editor) tryMapping(n *yaml.Node, last int, old, wanted map[string]any) bool {
	if n.Style&yaml.FlowStyle != 0 || len(n.Content) == 0 {
		return false
	}
	written := make(map[string]bool)
	column, tail := n.Content[0].Column-1, 0
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		to := last
		if i+2 < len(n.Content) {
			to = n.Content[i+2].Line - 1
		}
		from := key.Line - 1
		if key.Column-1 != column || from >= to || to > len(e.lines) {
			return false
		}
		to = e.trim(from, to, column, value)
		tail = to
		v, keep := wanted[key.Value]
		was, had := old[key.Value]
		written[key.Value] = true
		switch {
		case !had: // not ours to change
		case !keep:
			if strings.TrimSpace(e.head(from, column)) != "" {
				return false // the line holds the item's dash too
			}
			e.edits = append(e.edits, edit{from, to, ""})
		case SameValue(was, v):
		default:
			m, isMap := was.(map[string]any)
			w, stays := v.(map[string]any)
			if isMap && stays && value.Kind == yaml.MappingNode && value.Anchor == "" && value.Line > key.Line && e.mapping(value, to, m, w) {
				continue
			}
			text, ok := e.pair(key, value, v, column)
			if !ok {
				return false
			}
			e.edits = append(e.edits, edit{from, to, e.head(from, column) + text})
		}
	}
	added := slices.SortedFunc(maps.Keys(wanted), func(a, b string) int {
		return cmp.Or(cmp.Compare(slices.Index(wantKeys, a), slices.Index(wantKeys, b)), strings.Compare(a, b))
	})
	var b strings.Builder
	for _, key := range added {
		if !written[key] {
			text, ok := e.pair(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, nil, wanted[key], column)
			if !ok {
				return false
			}
			b.WriteString(strings.Repeat(" ", column) + text)
		}
	}
	if b.Len() > 0 {
		text := b.String()
		if end := e.lines[tail-1]; !lineEnd.MatchString(end) {
			text = e.end + strings.TrimSuffix(text, e.end)
		}
		e.edits = append(e.edits, edit{tail, tail, text})
	}
	return true
}

// head is the beginning of a line up to a column.
func (e *editor) head(line, column int) string {
	return e.lines[line][:min(column, len(e.lines[line]))]
}

// trim leaves lines out at the end of a pair that belong to nothing, or to what
// follows: empty ones, comments, the dash of an item.
func (e *editor) trim(from, to, column int, value *yaml.Node) int {
	for last := value; ; last = last.Content[len(last.Content)-1] {
		if len(last.Content) > 0 {
			continue
		}
		literal := last.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
		for to > from+1 {
			line := strings.TrimRight(e.lines[to-1], " \t\r\n\u0085\u2028\u2029")
			text := strings.TrimLeft(line, " \t")
			comment := strings.HasPrefix(text, "#") && !(literal && len(line)-len(text) > column)
			if text != "" && !comment && text != "-" && line != "---" && line != "..." {
				break
			}
			to--
		}
		return to
	}
}

// pair writes a key with its value, without the white space before it.
func (e *editor) pair(key, old *yaml.Node, v any, column int) (string, bool) {
	bare := *key
	bare.HeadComment, bare.LineComment, bare.FootComment = "", "", ""
	n := valueNode(v)
	if old != nil && old.Kind == yaml.ScalarNode && n.Kind == yaml.ScalarNode && n.Tag == old.Tag && n.Style == 0 {
		n.Style = old.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
	}
	if len(n.Content) > 0 && (old == nil || old.Style&yaml.FlowStyle == 0 || len(old.Content) == 0) {
		n.Style = 0
	}
	if old != nil {
		if comment := cmp.Or(old.LineComment, key.LineComment); !strings.Contains(comment, "\n") {
			if n.Kind == yaml.ScalarNode || n.Style&yaml.FlowStyle != 0 {
				n.LineComment = comment
			} else {
				bare.LineComment = comment
			}
		}
	}
	return e.encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{&bare, n}}, column)
}

// encode writes a node whose lines, but for the first, begin at a column.
func (e *editor) encode(n *yaml.Node, column int) (string, bool) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil || enc.Close() != nil {
		return "", false
	}
	var out strings.Builder
	for i, line := range splitLines(b.String()) {
		if i > 0 && strings.TrimSpace(line) != "" {
			out.WriteString(strings.Repeat(" ", column))
		}
		out.WriteString(strings.TrimSuffix(line, "\n"))
		out.WriteString(e.end)
	}
	return out.String(), true
}

// item writes a case anew, for one whose keys do not stand in lines of their
// own.
func (e *editor) item(n *yaml.Node, last int, old, wanted map[string]any) error {
	from, column := n.Line-1, n.Column-1
	if from >= last || strings.TrimSpace(e.head(from, column)) != "-" {
		return errEdit
	}
	to := e.trim(from, last, column, n)
	anew := *n
	anew.Style, anew.Content = 0, nil
	anew.HeadComment, anew.FootComment = "", ""
	seen := make(map[string]bool)
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		seen[key.Value] = true
		was, had := old[key.Value]
		v, keep := wanted[key.Value]
		switch {
		case had && !keep:
			continue
		case had && !SameValue(was, v):
			value = valueNode(v)
		}
		if n.LineComment != "" && len(anew.Content) == 0 && value.Kind == yaml.ScalarNode {
			commented := *value
			commented.LineComment, anew.LineComment, value = n.LineComment, "", &commented
		}
		anew.Content = append(anew.Content, key, value)
	}
	for _, key := range wantKeys {
		if v, ok := wanted[key]; ok && !seen[key] {
			value := valueNode(v)
			if len(value.Content) > 0 {
				value.Style = 0
			}
			anew.Content = append(anew.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
		}
	}
	text, ok := e.encode(&anew, column)
	if !ok {
		return errEdit
	}
	e.edits = append(e.edits, edit{from, to, e.head(from, column) + text})
	return nil
}

// text is the text with all edits made.
func (e *editor) text() ([]byte, error) {
	slices.SortStableFunc(e.edits, func(a, b edit) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	var out []byte
	at := 0
	for _, edit := range e.edits {
		if edit.from < at {
			return nil, errEdit
		}
		for ; at < edit.from; at++ {
			out = append(out, e.lines[at]...)
		}
		out, at = append(out, edit.text...), edit.to
	}
	for ; at < len(e.lines); at++ {
		out = append(out, e.lines[at]...)
	}
	return out, nil
}

// valueNode makes a plain value a node: what is nested in one line, every text
// so that it cannot be read as anything else.
func valueNode(v any) *yaml.Node {
	switch v := v.(type) {
	case emptyMapping:
		return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, valueNode(key), valueNode(v[key]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range v {
			n.Content = append(n.Content, valueNode(item))
		}
		return n
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		_, old := oldBool(n)
		if old || strings.ContainsAny(v, "\r\n\t\u0085\u2028\u2029\ufeff") || strings.TrimSpace(v) != v {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n
	}
	n := &yaml.Node{}
	if n.Encode(v) != nil {
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!null", "null"
	}
	return n
}
