package email

import (
	_ "embed"
	"fmt"
	htmltemplate "html/template"
	texttemplate "text/template"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
	pb "github.com/epmesh/epmesh/proto"
)

const (
	defaultSubject = `{{if eq .Count 1}}{{.First.Line}}{{else}}{{.Count}} messages{{with .Worst}}, the worst {{.}}{{end}}: {{.First.Title}}{{end}}`
	maxSubject     = 250
	maxPart        = 8 << 20 // of a mail's text or HTML
)

//go:embed mail.txt
var defaultText string

//go:embed mail.html
var defaultHTML string

// Mail is what the templates get.
type Mail struct {
	Count    int
	Messages []delivery.Content
	First    delivery.Content
	Worst    string // the highest severity
}

func newMail(messages []delivery.Content) Mail {
	m := Mail{Count: len(messages), Messages: messages, First: messages[0]}
	for _, c := range messages {
		if delivery.Rank(c.Severity) > delivery.Rank(m.Worst) {
			m.Worst, m.First = c.Severity, c
		}
	}
	return m
}

// templates write the parts of a mail.
type templates struct {
	subject, text *texttemplate.Template
	html          *htmltemplate.Template // nil for none
}

// parts are those of one mail.
type parts struct{ subject, text, html string }

func (s Settings) templates() (*templates, error) {
	read := func(setting, text, file, fallback string) (string, error) {
		if file != "" {
			raw, err := delivery.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("%sFile: %w", setting, err)
			}
			return string(raw), nil
		}
		if text == "" {
			return fallback, nil
		}
		return text, nil
	}
	t := new(templates)
	var err error
	if t.subject, err = texttemplate.New("subject").Funcs(delivery.Functions()).Parse(s.Subject); err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	source, err := read("text", s.Text, s.TextFile, defaultText)
	if err != nil {
		return nil, err
	}
	if t.text, err = texttemplate.New("text").Funcs(delivery.Functions()).Parse(source); err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	if !s.Plain {
		if source, err = read("html", s.HTML, s.HTMLFile, defaultHTML); err != nil {
			return nil, err
		}
		if t.html, err = htmltemplate.New("html").Funcs(htmltemplate.FuncMap(delivery.Functions())).Parse(source); err != nil {
			return nil, fmt.Errorf("html: %w", err)
		}
	}
	// What a template cannot do with it cannot do with a message at night either.
	var all []delivery.Content
	for _, text := range []string{`{"name":"N","severity":"high","adversary":{"ip":"203.0.113.7"}}`, "a text", ""} {
		c := delivery.Read(&pb.Message{Id: "1", Topic: "incidents", Message: text})
		if _, err := t.write([]delivery.Content{c}); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if _, err := t.write(all); err != nil {
		return nil, err
	}
	return t, nil
}

// write makes the parts. Its error names the template.
func (t *templates) write(messages []delivery.Content) (parts, error) {
	m := newMail(messages)
	subject, err := delivery.Execute(64<<10, func(w *delivery.Bounded) error { return t.subject.Execute(w, m) })
	if err != nil {
		return parts{}, fmt.Errorf("subject: %w", err)
	}
	text, err := delivery.Execute(maxPart, func(w *delivery.Bounded) error { return t.text.Execute(w, m) })
	if err != nil {
		return parts{}, fmt.Errorf("text: %w", err)
	}
	p := parts{subject: delivery.Line(string(subject), maxSubject), text: delivery.Clean(string(text))}
	if t.html != nil {
		html, err := delivery.Execute(maxPart, func(w *delivery.Bounded) error { return t.html.Execute(w, m) })
		if err != nil {
			return parts{}, fmt.Errorf("html: %w", err)
		}
		p.html = delivery.Clean(string(html))
	}
	return p, nil
}
