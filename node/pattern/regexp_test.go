package pattern

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
)

// hard is an expression that follows thousands of ways at once.
const hard = `[^=]*(?:\w\s?){1,900}=`

// A match that would take minutes is given up after seconds.
func TestGivesUp(t *testing.T) {
	text := strings.Repeat("x", 4<<20)
	re, err := Compile(hard)
	if err != nil {
		t.Fatal(err)
	}
	for name, match := range map[string]func(){
		"find":  func() { re.FindStringIndex(text) },
		"match": func() { re.MatchString(text) },
		"each":  func() { re.EachMatch(text, func(string) {}) },
	} {
		start := time.Now()
		err := func() (err error) {
			defer Recover(&err)
			match()
			return nil
		}()
		if !errors.Is(err, ErrSlow) || time.Since(start) > 10*maxMatch {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
	}
}

// Each match looks at all the rest of the text, whatever its own length.
func TestGivesUpOnMany(t *testing.T) {
	re, err := Compile(`a.*z|a`)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err = func() (err error) {
		defer Recover(&err)
		re.EachMatch(strings.Repeat("a", 1<<20), func(string) {})
		return nil
	}()
	if !errors.Is(err, ErrSlow) || time.Since(start) > 10*maxMatch {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// What is watched finds the same.
func TestWatchedFindsTheSame(t *testing.T) {
	line := strings.Repeat("é x=1 ", 1000)
	long := strings.Repeat(line, 40) + "end\xff"
	for _, text := range []string{`end`, `^é`, `\bend`, `x=1 é x=1 end`, `(?s).*x`, `nothing`, `\z`, `[^x]*x`, `1 e`} {
		re, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		re.size = 1 << 20 // never easy
		want := regexp.MustCompile(text).FindStringIndex(long)
		if got := re.FindStringIndex(long); len(got) != len(want) || len(got) > 0 && (got[0] != want[0] || got[1] != want[1]) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
		if re.MatchString(long) != (want != nil) {
			t.Errorf("%s: matches otherwise", text)
		}
	}
}

func TestRecoverLeavesOthers(t *testing.T) {
	defer func() {
		if recover() != "mine" {
			t.Error("a panic of others is swallowed")
		}
	}()
	var err error
	defer Recover(&err)
	panic("mine")
}
