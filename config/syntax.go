package config

import (
	"bytes"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	syntaxLine    = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.+)' referenced$`)
)

// syntax reports a parser's error. The parser names a line at best, for some
// errors that where the enclosing block begins, for some the one before.
func (d *document) syntax(data []byte, err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := syntaxLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	hint := ""
	switch {
	case unknownAnchor.MatchString(message):
		name := unknownAnchor.FindStringSubmatch(message)[1]
		if i := bytes.Index(data, []byte("*"+name)); i >= 0 {
			line = 1 + bytes.Count(data[:i], []byte("\n"))
		}
		hint = "a text that begins with * must be quoted"
	case message == "did not find expected key", message == "did not find expected '-' indicator":
		line = firstBadLine(data, message, line+1)
		hint = "check the indentation and quotes of this line against the lines above"
	case strings.HasPrefix(message, "did not find expected ',' or"):
		line++
		hint = "from here on a bracket or brace is not closed, or a text in one that holds a comma, such as a condition, is not quoted"
	case message == "did not find expected node content":
		line++
		hint = "a value or a closing bracket is missing"
	case strings.HasSuffix(message, "are not allowed in this context") && strings.HasPrefix(message, "block "):
		hint = `check the indentation; a list that begins behind its key, in the same line, is written [a, b]`
	case message == "could not find expected ':'":
		hint = `a key needs ": " behind it; a text of several lines must be indented`
	case message == "mapping values are not allowed in this context":
		hint = `check the indentation; a text that holds ": " must be quoted`
	case message == "found character that cannot start any token":
		hint = "indent with spaces, not tabs; a text that begins with @, ` or % must be quoted"
	case message == "found unexpected end of stream":
		hint = "a quote is not closed"
	case message == "found unknown escape character":
		hint = "in single quotes a backslash means itself"
	}
	lines := bytes.Split(data, []byte("\n"))
	line = min(line, len(lines))
	text := lines[line-1]
	column := 1 + len(text) - len(bytes.TrimLeft(text, " \t\r"))
	d.add(RuleSyntax, Error, line, column, hint, "YAML syntax: %s", message)
}

// firstBadLine finds the line that brings the error up: the shortest file
// beginning that shows it ends there.
func firstBadLine(data []byte, message string, fallback int) int {
	const enough = 1 << 20 // parsing larger files some twenty times takes too long
	if len(data) > enough {
		return fallback
	}
	var ends []int
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	ends = append(ends, len(data))
	return 1 + sort.Search(len(ends)-1, func(i int) bool {
		var n yaml.Node
		err := yaml.Unmarshal(data[:ends[i]], &n)
		return err != nil && strings.HasSuffix(err.Error(), message)
	})
}
