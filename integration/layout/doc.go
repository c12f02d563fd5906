// Package layout holds the house rules as tests: who may import whom, what is
// documented, how long a file may be, what no test may do. Where a rule is in
// the way of something good, change the rule here and say why in docs/decisions.
package layout
