package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// grok cuts a text into fields, pattern by pattern from its start: all of them
// or none.
type grok struct {
	source *tree.Path
	parts  []grokPart
}

type grokPart struct {
	matcher *matcher
	path    *tree.Path // nil: match and discard
}

func (c *compiler) grok(p *pb.Grok) (action, error) {
	if len(p.GetPatterns()) == 0 {
		return nil, errors.New("patterns is not set")
	}
	s := &grok{source: source(p.GetSource())}
	for i, configured := range p.GetPatterns() {
		m, err := c.matcher(configured.GetPattern())
		if err != nil {
			return nil, fmt.Errorf("pattern %d: %w", i+1, err)
		}
		part := grokPart{matcher: m}
		if name := configured.GetFieldName(); name != "" {
			if part.path, err = c.target(name); err != nil {
				return nil, fmt.Errorf("pattern %d: fieldName %w", i+1, err)
			}
		}
		s.parts = append(s.parts, part)
	}
	// Of a repeated name only the last is written.
	last := map[string]bool{}
	for i := len(s.parts) - 1; i >= 0; i-- {
		if path := s.parts[i].path; path != nil {
			if last[path.String()] {
				s.parts[i].path = nil
			}
			last[path.String()] = true
		}
	}
	return s, nil
}

// matcher makes a matcher once for each text: files repeat few of them often.
func (c *compiler) matcher(text string) (*matcher, error) {
	m, ok := c.matchers[text]
	if !ok {
		var err error
		if m, err = newMatcher(text, c.patterns); err != nil {
			return nil, err
		}
		c.matchers[text] = m
	}
	return m, nil
}

func (s *grok) apply(d *draft) (err error) {
	defer pattern.Recover(&err)
	if _, n := s.cut(d); n < len(s.parts) {
		return nil
	}
	values := d.values
	var failed error
	for i := range s.parts {
		if path := s.parts[i].path; path != nil {
			if err := d.Set(path, tree.Text(strings.TrimSpace(values[i]))); err != nil {
				failed = errors.Join(failed, fmt.Errorf("field %s: %w", path, err))
			}
		}
	}
	return failed
}

// cut puts what each part takes into the draft's values. It gives how many
// parts matched, -1 where there is no text at all, and the text that was left.
func (s *grok) cut(d *draft) (rest string, matched int) {
	rest, ok := d.text(s.source)
	if !ok {
		return "", -1
	}
	d.values = d.values[:0]
	for i := range s.parts {
		if rest = strings.TrimSpace(rest); rest == "" {
			return "", i
		}
		n := s.parts[i].matcher.match(rest)
		if n == 0 {
			return rest, i
		}
		d.values = append(d.values, rest[:n])
		rest = rest[n:]
	}
	return rest, len(s.parts)
}
