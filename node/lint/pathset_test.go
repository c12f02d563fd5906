package lint

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// The set answers as one that goes through all its paths would.
func TestPathSet(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	path := func() string {
		parts := make([]string, 1+r.IntN(3))
		for i := range parts {
			parts[i] = string(rune('a' + r.IntN(2)))
		}
		return strings.Join(parts, ".")
	}
	for range 300 {
		set, plain := newPathSet[int](), map[string]int{}
		for n := range 40 {
			p := path()
			switch r.IntN(4) {
			case 0, 1:
				set.put(p, n)
				plain[p] = n
			case 2:
				set.drop(p)
				for q := range plain {
					if within(q, p) {
						delete(plain, q)
					}
				}
			case 3:
				set.dropOver(p)
				for q := range plain {
					if within(p, q) {
						delete(plain, q)
					}
				}
			}
			ask := path()
			touches := false
			over, longest := 0, ""
			for q, v := range plain {
				touches = touches || within(q, ask) || within(ask, q)
				if within(ask, q) && len(q) > len(longest) {
					over, longest = v, q
				}
			}
			if got := set.touches(ask); got != touches {
				t.Fatalf("%s touches %v: %t", ask, plain, got)
			}
			if got, ok := set.over(ask); ok != (longest != "") || got != over {
				t.Fatalf("over %s in %v: %d, %t", ask, plain, got, ok)
			}
		}
	}
}
