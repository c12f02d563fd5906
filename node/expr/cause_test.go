package expr

import (
	"strings"
	"testing"
	"time"
)

func TestCostly(t *testing.T) {
	long := strings.Repeat("a", 200_000)
	for source, want := range map[string]bool{
		`log.none == 1`: false,
		`log.text > 4`:  false,
		`none.x == 1`:   false,
		`log.list.all(a, log.list.all(b, log.list.all(c, a + b + c > 0.0)))`: true,
		`regexMatch("log.long", "(x+x+)+y{1000}" + log.text)`:                false,
	} {
		p, err := Compile(source, nil)
		if err != nil {
			t.Fatal(err)
		}
		numbers := strings.Repeat("1,", 300) + "1"
		doc, err := FromJSON([]byte(`{"log":{"text":"x","long":"` + long + `","list":[` + numbers + `]}}`))
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Eval(doc)
		if err == nil && want {
			t.Errorf("%s: no error", source)
		}
		if got := Costly(err); got != want {
			t.Errorf("%s: costly %t: %v", source, got, err)
		}
	}
}

// One that is ended by the clock is costly too.
func TestTooLongIsCostly(t *testing.T) {
	before := maxLoop
	maxLoop = time.Nanosecond
	defer func() { maxLoop = before }()
	p, err := Compile(`log.list.all(a, a > 0.0)`, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := FromJSON([]byte(`{"log":{"list":[1,2,3,4]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Eval(doc); !Costly(err) {
		t.Errorf("error: %v", err)
	}
}
