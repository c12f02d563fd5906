package config

import (
	"slices"
	"strings"
)

// Suggest returns the known name that a misspelt one most likely means, or "".
func Suggest(name string, known []string) string {
	folded := fold(name)
	best, bestDistance := "", 1+max(1, len(folded)/3)
	if len(name) > 64 {
		return ""
	}
	for _, k := range known {
		if d := distance(folded, fold(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// fold leaves out what writers of keys commonly confuse: case, "_" and "-".
func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a.
func distance(a, b string) int {
	var before, last []int // the two rows above
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

// didYouMean is the hint for an unknown name: the likely one, else all of them.
func didYouMean(name string, known []string) string {
	if k := Suggest(name, known); k != "" {
		return `did you mean "` + k + `"?`
	}
	known = slices.Sorted(slices.Values(known))
	return "known here: " + strings.Join(known, ", ")
}
