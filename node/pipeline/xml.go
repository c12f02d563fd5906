package pipeline

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// xmlStep puts an XML document under log, mapped as Logstash maps it, the root
// kept: an element is an object under its local name, of its attributes and
// child elements; equal names make an array. An element with nothing but text
// is that text; beside attributes or children, text is under "content".
type xmlStep struct {
	options Options
	source  *tree.Path
}

func (c *compiler) xml(p *pb.Xml) action {
	return &xmlStep{c.options, source(p.GetSource())}
}

func (s *xmlStep) apply(d *draft) error {
	text, ok := d.text(s.source)
	if !ok {
		return missing(s.source)
	}
	root, err := s.read(text)
	if err != nil {
		return fmt.Errorf("source %s: %w", s.source, err)
	}
	object, err := d.ParseObject(string(root.appendJSON(append([]byte(nil), '{', '"', 'x', '"', ':'))) + "}")
	if err != nil {
		return fmt.Errorf("source %s: %w", s.source, err)
	}
	return d.setLog(s.options, root.name, object.List()[0])
}

// element is an XML element, or an attribute, which has only text.
type element struct {
	name string
	text string
	kids []*element
}

// read reads one document. Entities other than XML's own five are errors, so
// that nothing expands.
func (s *xmlStep) read(text string) (*element, error) {
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // it is UTF-8 already
	var (
		root    *element
		open    []*element
		content [][]byte // of each open element
		limits  = s.options.Limits.WithDefaults()
		count   int
	)
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not XML: %w", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: s.name(token.Name)}
			for _, a := range token.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					e.kids = append(e.kids, &element{name: s.name(a.Name), text: a.Value})
				}
			}
			if count += 1 + len(token.Attr); count > limits.Nodes {
				return nil, tree.ErrNodes
			}
			switch {
			case len(open) >= limits.Depth:
				return nil, tree.ErrDepth
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.kids = append(parent.kids, e)
			case root != nil:
				return nil, errors.New("not XML: more than one root element")
			default:
				root = e
			}
			open = append(open, e)
			content = append(content, nil)
		case xml.CharData:
			if len(open) > 0 {
				content[len(open)-1] = append(content[len(open)-1], token...)
			} else if strings.TrimSpace(string(token)) != "" {
				return nil, errors.New("not XML: text outside of the root element")
			}
		case xml.EndElement:
			last := len(open) - 1
			open[last].text = strings.TrimSpace(string(content[last]))
			open, content = open[:last], content[:last]
		}
	}
	if root == nil {
		return nil, errors.New("not XML: no element")
	}
	return root, nil
}

// name is a name without its dots, which would nest, and what names may not
// hold; "element" where nothing is left.
func (s *xmlStep) name(n xml.Name) string {
	name := strings.ReplaceAll(s.options.clean(n.Local), ".", "")
	if name == "" {
		return "element"
	}
	return name
}

func (e *element) appendJSON(b []byte) []byte {
	if len(e.kids) == 0 {
		return tree.AppendString(b, e.text)
	}
	var names []string
	byName := make(map[string][]*element, len(e.kids))
	for _, kid := range e.kids {
		if byName[kid.name] == nil {
			names = append(names, kid.name)
		}
		byName[kid.name] = append(byName[kid.name], kid)
	}
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(tree.AppendString(b, name), ':')
		same := byName[name]
		if len(same) == 1 {
			b = same[0].appendJSON(b)
			continue
		}
		for j, kid := range same {
			b = kid.appendJSON(append(b, "[,"[min(j, 1)]))
		}
		b = append(b, ']')
	}
	if e.text != "" && byName["content"] == nil {
		b = append(tree.AppendString(append(b, ','), "content"), ':')
		b = tree.AppendString(b, e.text)
	}
	return append(b, '}')
}
