package config

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Place is where a value stands in a file. It is kept only by InspectPipelines
// and InspectRules; elsewhere a Place is that of the step or rule as a whole.
// The zero Place is nowhere.
type Place struct {
	Position
	node *yaml.Node
	text *sourceText
}

// sourceText is a file's text by lines.
type sourceText struct {
	file  string
	lines [][]byte
}

func newSourceText(file string, data []byte) *sourceText {
	return &sourceText{file: file, lines: bytes.Split(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\n"))}
}

func (t *sourceText) place(n *yaml.Node) Place {
	return Place{Position: Position{File: t.file, Line: n.Line, Column: n.Column}, node: n, text: t}
}

// At is the place of what lies below, by keys and by indexes of lists, such as
// At("patterns", "2", "pattern"). Where something is not there it is the place
// of the last that is.
func (p Place) At(path ...string) Place {
	for _, part := range path {
		next := p.child(part)
		if next == nil {
			return p
		}
		p = p.text.place(next)
	}
	return p
}

// Key is the place of a key of the mapping, not of its value; the mapping's
// own where there is no such key.
func (p Place) Key(name string) Place {
	if key, _ := p.pair(name, 0); key != nil {
		return p.text.place(key)
	}
	return p
}

// Has tells whether the mapping or list has that key or index.
func (p Place) Has(name string) bool { return p.child(name) != nil }

func (p Place) child(name string) *yaml.Node {
	if p.node == nil {
		return nil
	}
	if n := behind(p.node); n.Kind == yaml.SequenceNode {
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
			return behind(n.Content[i])
		}
		return nil
	}
	_, value := p.pair(name, 0)
	return value
}

// pair finds a key of a mapping: the last that bears the name, as the decoder
// does, else what is merged in.
func (p Place) pair(name string, depth int) (key, value *yaml.Node) {
	if p.node == nil || depth > maxDepth {
		return nil, nil
	}
	n := behind(p.node)
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if k := behind(n.Content[i]); k.Kind == yaml.ScalarNode && k.Value == name {
			return k, behind(n.Content[i+1])
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() != "!!merge" {
			continue
		}
		from := []*yaml.Node{behind(n.Content[i+1])}
		if from[0].Kind == yaml.SequenceNode {
			from = from[0].Content
		}
		for _, m := range from {
			if key, value = p.text.place(m).pair(name, depth+1); key != nil {
				return key, value
			}
		}
	}
	return nil, nil
}

// Offset is the position of a byte of a text's value. Where the way in which
// the text is written does not let it be found, it is that of the text.
func (p Place) Offset(n int) Position {
	if p.node == nil || p.node.Kind != yaml.ScalarNode || n <= 0 || n > len(p.node.Value) {
		return p.start()
	}
	var at Position
	switch p.node.Style &^ yaml.TaggedStyle {
	case yaml.LiteralStyle:
		at = p.inLiteral(n)
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		at = p.inQuotes(n)
	case 0, yaml.FoldedStyle:
		at = p.inWords(n)
	}
	if at.Line == 0 {
		return p.start()
	}
	return at
}

// start is where the value itself begins: of a block that is its first line.
func (p Place) start() Position {
	if p.node == nil || p.node.Kind != yaml.ScalarNode {
		return p.Position
	}
	if style := p.node.Style; style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		for line := p.Line + 1; line <= len(p.text.lines); line++ {
			if text := p.line(line); len(bytes.TrimSpace(text)) > 0 {
				return Position{File: p.File, Line: line, Column: 1 + indent(text)}
			}
		}
	}
	return p.Position
}

func (p Place) line(n int) []byte {
	if n < 1 || n > len(p.text.lines) {
		return nil
	}
	return bytes.TrimSuffix(p.text.lines[n-1], []byte("\r"))
}

func indent(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

// inLiteral finds a byte of a block that keeps its lines.
func (p Place) inLiteral(n int) Position {
	value := p.node.Value
	before := value[:n]
	row := strings.Count(before, "\n")
	column := n - (1 + strings.LastIndexByte(before, '\n'))
	want, _, _ := strings.Cut(value[n-column:], "\n")
	line := p.line(p.Line + 1 + row)
	from := len(line) - len(want)
	if from < 0 || string(line[from:]) != want || len(bytes.TrimLeft(line[:from], " ")) > 0 {
		return Position{}
	}
	return Position{File: p.File, Line: p.Line + 1 + row, Column: 1 + from + utf8.RuneCountInString(want[:column])}
}

// inWords finds a byte of a text whose lines are joined by spaces: one without
// quotes, or a folded block.
func (p Place) inWords(n int) Position {
	value, done := p.node.Value, 0
	number, column := p.Line, p.Column-1
	if p.node.Style&yaml.FoldedStyle != 0 {
		number, column = number+1, 0
	}
	for ; done <= n && number <= len(p.text.lines); number, column = number+1, 0 {
		line := string(p.line(number))
		skip := skipRunes(line, column)
		text := strings.TrimLeft(line[skip:], " \t")
		skip = len(line) - len(text)
		// What is left of the value goes on with this line, or with as much of it
		// as comes before a comment.
		rest, same := value[done:], 0
		for same < len(rest) && same < len(text) && rest[same] == text[same] {
			same++
		}
		if n <= done+same && (n < done+same || n == len(value)) {
			return Position{File: p.File, Line: number, Column: 1 + utf8.RuneCountInString(line[:skip+n-done])}
		}
		done += same
		for done < len(value) && (value[done] == ' ' || value[done] == '\n') && done < n {
			done++
		}
		if same == 0 && text != "" {
			return Position{}
		}
	}
	return Position{}
}

// inQuotes finds a byte of a quoted text that stands on one line.
func (p Place) inQuotes(n int) Position {
	line := string(p.line(p.Line))
	at := skipRunes(line, p.Column-1)
	if at >= len(line) {
		return Position{}
	}
	quote := line[at]
	at++
	for done := 0; at < len(line); {
		if done == n {
			return Position{File: p.File, Line: p.Line, Column: 1 + utf8.RuneCountInString(line[:at])}
		}
		if done > n {
			return Position{}
		}
		switch {
		case quote == '\'' && strings.HasPrefix(line[at:], "''"):
			at, done = at+2, done+1
		case line[at] == quote:
			return Position{} // the value goes on elsewhere
		case quote == '"' && line[at] == '\\':
			length, bytes := escape(line[at:])
			at, done = at+length, done+bytes
		default:
			at, done = at+1, done+1
		}
	}
	return Position{}
}

// escape is the length of an escape in double quotes, and of what it means.
func escape(text string) (length, bytes int) {
	if len(text) < 2 {
		return len(text), 1
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[1]]
	if digits > 0 && len(text) >= 2+digits {
		code, err := strconv.ParseUint(text[2:2+digits], 16, 32)
		if err == nil {
			return 2 + digits, utf8.RuneLen(rune(code))
		}
	}
	switch text[1] {
	case 'N', '_':
		return 2, 2
	case 'L', 'P':
		return 2, 3
	}
	return 2, 1
}

// skipRunes is the offset of a line's n-th character.
func skipRunes(line string, n int) int {
	for i := range line {
		if n == 0 {
			return i
		}
		n--
	}
	return len(line)
}
