package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"
)

// ErrTooLong is wrapped by the error of an output that a template made too long.
var ErrTooLong = errors.New("the template's output is too long")

// Functions are those of templates, besides the template language's own:
//
//	json VALUE          as JSON, texts with quotes
//	upper, lower, trim  of a text
//	default FALLBACK V  FALLBACK where V is empty
//	cut N TEXT          at most N bytes of it
//	line TEXT           without line breaks and control characters
//	get PATH VALUE      a member of a JSON value, by names with dots
//	join SEPARATOR LIST
func Functions() template.FuncMap {
	return template.FuncMap{
		"json":    toJSON,
		"upper":   func(v any) string { return strings.ToUpper(text(v)) },
		"lower":   func(v any) string { return strings.ToLower(text(v)) },
		"trim":    func(v any) string { return strings.TrimSpace(text(v)) },
		"default": fallback,
		"cut":     func(n int, v any) string { return Cut(text(v), max(n, 0)) },
		"line":    func(v any) string { return Line(text(v), 1000) },
		"get":     get,
		"join":    join,
	}
}

func toJSON(v any) (string, error) {
	out, err := json.Marshal(v)
	return string(out), err
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return fmt.Sprint(v)
}

func fallback(instead, v any) any {
	switch v := v.(type) {
	case nil:
		return instead
	case string:
		if v == "" {
			return instead
		}
	case []any:
		if len(v) == 0 {
			return instead
		}
	case map[string]any:
		if len(v) == 0 {
			return instead
		}
	}
	return v
}

// get walks objects by names and lists by numbers; what is not there is nil.
func get(path string, v any) any {
	for name := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			i := 0
			if _, err := fmt.Sscanf(name, "%d", &i); err != nil || i < 0 || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

func join(separator string, v any) string {
	list, ok := v.([]any)
	if !ok {
		return text(v)
	}
	parts := make([]string, len(list))
	for i, part := range list {
		parts[i] = text(part)
	}
	return strings.Join(parts, separator)
}

// Execute runs execute, a template's method, and bounds what it writes.
func Execute(most int, execute func(out *Bounded) error) ([]byte, error) {
	out := &Bounded{most: most}
	if err := execute(out); err != nil {
		if out.over {
			return nil, fmt.Errorf("%w: above %d bytes", ErrTooLong, most)
		}
		return nil, err
	}
	return out.b.Bytes(), nil
}

// Bounded is a writer that takes no more than it was made for.
type Bounded struct {
	b    bytes.Buffer
	most int
	over bool
}

// Write implements io.Writer; it fails once too much has come.
func (b *Bounded) Write(p []byte) (int, error) {
	if b.b.Len()+len(p) > b.most {
		b.over = true
		return 0, ErrTooLong
	}
	return b.b.Write(p)
}
