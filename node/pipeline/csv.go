package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// csv puts the columns of a line into fields, as strings.
type csv struct {
	source    *tree.Path
	separator string
	headers   []*tree.Path
}

func (c *compiler) csv(p *pb.Csv) (action, error) {
	s := &csv{source: source(p.GetSource()), separator: p.GetSeparator()}
	if s.separator == "" {
		s.separator = ","
	}
	if len(p.GetHeaders()) == 0 {
		return nil, errors.New("headers is not set")
	}
	for _, header := range p.GetHeaders() {
		path, err := c.target(header)
		if err != nil {
			return nil, fmt.Errorf("header %w", err)
		}
		s.headers = append(s.headers, path)
	}
	return s, nil
}

func (s *csv) apply(d *draft) error {
	text, ok := d.text(s.source)
	if !ok {
		return missing(s.source)
	}
	columns, err := s.split(text)
	if err != nil {
		return err
	}
	if len(columns) != len(s.headers) {
		return fmt.Errorf("%d columns, %d headers", len(columns), len(s.headers))
	}
	for i, path := range s.headers {
		if err := d.Set(path, tree.Text(columns[i])); err != nil {
			return err
		}
	}
	return nil
}

// split cuts a line at the separators. A column that starts with a quote ends
// with one, holds separators and, doubled, quotes (RFC 4180); a quote elsewhere
// is an ordinary character. It stops one column after the last header.
func (s *csv) split(line string) ([]string, error) {
	line = strings.TrimRight(line, "\r\n")
	columns := make([]string, 0, len(s.headers)+1)
	for len(columns) <= len(s.headers) {
		if !strings.HasPrefix(line, `"`) {
			column, rest, more := strings.Cut(line, s.separator)
			columns = append(columns, column)
			if !more {
				break
			}
			line = rest
			continue
		}
		column, rest, ok := quoted(line)
		if !ok {
			return nil, fmt.Errorf("column %d: quote without end", len(columns)+1)
		}
		columns = append(columns, column)
		if rest == "" {
			break
		}
		if line, ok = strings.CutPrefix(rest, s.separator); !ok {
			return nil, fmt.Errorf("column %d: text after the closing quote", len(columns))
		}
	}
	return columns, nil
}

// quoted takes a quoted column off the front of a line.
func quoted(line string) (column, rest string, ok bool) {
	from, doubled := 1, false
	for {
		i := strings.IndexByte(line[from:], '"')
		if i < 0 {
			return "", "", false
		}
		end := from + i
		if strings.HasPrefix(line[end+1:], `"`) {
			from, doubled = end+2, true
			continue
		}
		column, rest = line[1:end], line[end+1:]
		if doubled {
			column = strings.ReplaceAll(column, `""`, `"`)
		}
		return column, rest, true
	}
}
