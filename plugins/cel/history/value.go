package history

import (
	"iter"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/epmesh/epmesh/plugins/internal/fields"
	pb "github.com/epmesh/epmesh/proto"
)

// compiled is a query as the stores use it.
type compiled struct {
	Query
	since int64 // milliseconds
	with  []test
	types map[string]bool // whether Index covers a data type, as far as asked
}

// test is a criterion with the words it looks for.
type test struct {
	Criterion
	words []string // in lower case
}

func compile(q Query) *compiled {
	c := &compiled{Query: q, since: math.MinInt64, types: map[string]bool{}}
	if !q.Since.IsZero() {
		c.since = q.Since.UnixMilli()
	}
	for _, w := range q.With {
		t := test{Criterion: w}
		if w.Match {
			for word := range words(w.Text) {
				t.words = append(t.words, word)
			}
		}
		c.with = append(c.with, t)
	}
	return c
}

// enough is where counting ends.
func (c *compiled) enough() int { return max(c.Limit, c.Want) }

func (c *compiled) covers(dataType string) bool {
	is, known := c.types[dataType]
	if !known {
		is = c.Index.Covers(dataType)
		c.types[dataType] = is
	}
	return is
}

// fits tells whether an event passes all criteria.
func (c *compiled) fits(e *pb.Event) bool {
	for i := range c.with {
		if !c.with[i].fits(fields.Get(e, c.with[i].Path)) {
			return false
		}
	}
	return true
}

// fits tells whether a value, nil for none, passes.
func (t *test) fits(v any) bool {
	is := false
	for text := range texts(v) {
		if is = !t.Match && text == t.Text || t.Match && anyWord(text, t.words); is {
			break
		}
	}
	return is != t.Not
}

// texts yields the values that a search compares: each of a list's, in one
// form.
func texts(v any) iter.Seq[string] {
	return func(yield func(string) bool) {
		switch x := v.(type) {
		case nil:
		case []any:
			for _, item := range x {
				if !yield(fields.Text(item)) {
					return
				}
			}
		default:
			yield(fields.Text(v))
		}
	}
}

// anyWord reports whether a text holds one of the words, which are in lower
// case: a match search is one for words, as in a search engine.
func anyWord(text string, wanted []string) bool {
	for w := range words(text) {
		for _, want := range wanted {
			if w == want {
				return true
			}
		}
	}
	return false
}

// words yields the words of a text in lower case: runs of letters, digits and
// underscores.
func words(text string) iter.Seq[string] {
	text = strings.ToLower(text)
	return func(yield func(string) bool) {
		begin := -1
		for i := 0; i < len(text); {
			r, size := rune(text[i]), 1
			if r >= utf8.RuneSelf {
				r, size = utf8.DecodeRuneInString(text[i:])
			}
			if inWord(r) {
				if begin < 0 {
					begin = i
				}
			} else if begin >= 0 {
				if !yield(text[begin:i]) {
					return
				}
				begin = -1
			}
			i += size
		}
		if begin >= 0 {
			yield(text[begin:])
		}
	}
}

func inWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r >= 'A' && r <= 'Z'
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}
