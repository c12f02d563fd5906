package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// trim removes text from fields.
type trim struct {
	fields []*tree.Path
	cut    func(text string) (string, error)
}

func (c *compiler) trim(p *pb.Trim) (action, error) {
	fields, err := c.fields(p.GetFields())
	if err != nil {
		return nil, err
	}
	s, sub := &trim{fields: fields}, p.GetSubstring()
	switch p.GetFunction() {
	case "prefix":
		s.cut = func(text string) (string, error) { return strings.TrimPrefix(text, sub), nil }
	case "suffix":
		s.cut = func(text string) (string, error) { return strings.TrimSuffix(text, sub), nil }
	case "substring":
		s.cut = func(text string) (string, error) {
			if sub == "" {
				return text, nil
			}
			return strings.ReplaceAll(text, sub, ""), nil
		}
	case "regex":
		re, err := c.patterns.Compile(sub)
		if err != nil {
			return nil, err
		}
		s.cut = func(text string) (string, error) { return cutMatches(re, text) }
	default:
		return nil, fmt.Errorf("unknown function %q: use prefix, suffix, substring or regex", p.GetFunction())
	}
	return s, nil
}

func (s *trim) apply(d *draft) error {
	for _, path := range s.fields {
		text, ok := d.text(path)
		if !ok || text == "" {
			continue
		}
		text, err := s.cut(strings.TrimSpace(text))
		if err != nil {
			return fmt.Errorf("field %s: %w", path, err)
		}
		if err := d.Set(path, tree.Text(strings.TrimSpace(text))); err != nil {
			return err
		}
	}
	return nil
}

// maxCut bounds the work of cutMatches, in bytes looked at.
const maxCut = 256 << 20

// cutMatches removes every text that the expression matched, wherever it stands
// and not only where it was matched.
func cutMatches(re *pattern.Regexp, text string) (_ string, err error) {
	defer pattern.Recover(&err)
	var (
		matches []string
		seen    = map[string]bool{"": true}
	)
	re.EachMatch(text, func(match string) {
		if !seen[match] {
			seen[match] = true
			matches = append(matches, match)
		}
	})
	work := 0
	for _, match := range matches {
		if work += len(text); work > maxCut {
			return "", errors.New("too many different texts to remove")
		}
		text = strings.ReplaceAll(text, match, "")
	}
	return text, nil
}
