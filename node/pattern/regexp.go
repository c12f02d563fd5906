package pattern

import (
	"errors"
	"io"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/epmesh/epmesh/node/patience"
)

// Regexp is a compiled expression that gives up on a text that takes it too
// long: matching costs up to the product of the text's length and the
// expression's size, which for a large log and an unlucky expression is
// minutes. Its methods are regexp's; where they give up they panic, and
// Recover makes the panic an error. It may be used by many goroutines at once.
type Regexp struct {
	re   *regexp.Regexp
	size int // instructions
}

// ErrSlow is the error of a match that was given up.
var ErrSlow = errors.New("the regular expression takes too long on this text")

// Recover is deferred by who uses a Regexp: it turns giving up into an error.
func Recover(err *error) {
	switch r := recover(); r {
	case nil:
	case ErrSlow:
		*err = ErrSlow
	default:
		panic(r)
	}
}

const (
	// easy is the product of size and length up to which a match is left to
	// itself: half a second at the worst.
	easy = 1 << 24
	// maxMatch is what a match beyond that may take.
	maxMatch = 2 * time.Second
)

// String is the expression.
func (r *Regexp) String() string { return r.re.String() }

// FindStringIndex is the place of the leftmost match.
func (r *Regexp) FindStringIndex(text string) []int {
	if r.size*len(text) <= easy {
		return r.re.FindStringIndex(text)
	}
	reader := watched{text: text, clock: patience.Start()}
	at := r.re.FindReaderIndex(&reader)
	if reader.late {
		panic(ErrSlow)
	}
	return at
}

// MatchString reports whether there is a match.
func (r *Regexp) MatchString(text string) bool {
	if r.size*len(text) <= easy {
		return r.re.MatchString(text)
	}
	return r.FindStringIndex(text) != nil
}

// EachMatch calls do for the matches that follow each other, from the left. Each
// may look at all of the text that is left, so that a long text is refused.
func (r *Regexp) EachMatch(text string, do func(match string)) {
	if r.size*len(text) > easy {
		panic(ErrSlow)
	}
	clock := patience.Start()
	r.re.ReplaceAllStringFunc(text, func(match string) string {
		if clock.Spent(time.Second) > maxMatch {
			panic(ErrSlow)
		}
		do(match)
		return ""
	})
}

// watched is a text that ends early when it is late.
type watched struct {
	text  string
	at    int
	runes int
	clock patience.Clock
	late  bool
}

func (w *watched) ReadRune() (rune, int, error) {
	if w.runes++; w.runes&63 == 0 && w.clock.Spent(100*time.Millisecond) > maxMatch {
		w.late = true
	}
	if w.late || w.at == len(w.text) {
		return 0, 0, io.EOF
	}
	c, n := utf8.DecodeRuneInString(w.text[w.at:])
	w.at += n
	return c, n, nil
}
