package expr

import (
	"math"
	"slices"
	"testing"

	"github.com/epmesh/epmesh/node/tree"
	"pgregory.net/rapid"
)

// TestIndexLikeEqual asks an index and each equality by itself.
func TestIndexLikeEqual(t *testing.T) {
	texts := rapid.SampledFrom([]string{"", "4", "04", "4.0", "-0", "0", "x", "true", "false", "NaN", "Inf", "1e400", "1e999", "0x10", "1_000", " 4", "null"})
	nums := rapid.OneOf(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 4, 4.5, 16, math.Inf(1), math.Inf(-1)}), rapid.Float64())
	rapid.Check(t, func(r *rapid.T) {
		var constants []constant
		x := NewIndex()
		for i := range rapid.IntRange(1, 6).Draw(r, "constants") {
			arg := rapid.OneOf(texts.AsAny(), nums.AsAny(), rapid.Bool().AsAny(), rapid.Int64Range(-5, 20).AsAny(), rapid.Just[any](nil)).Draw(r, "constant")
			c := newConstant(arg)
			constants = append(constants, c)
			x.Add(Guard{equals: []constant{c}}, i)
		}
		v := tree.Value{Kind: rapid.SampledFrom([]tree.Kind{tree.Missing, tree.Null, tree.False, tree.True, tree.Number, tree.String, tree.Array, tree.Object}).Draw(r, "kind")}
		switch v.Kind {
		case tree.String:
			v.Text = texts.Draw(r, "text")
		case tree.Number:
			v.Num = nums.Draw(r, "number")
			if math.IsInf(v.Num, 1) {
				v.Text = rapid.SampledFrom([]string{"1e400", "1e999"}).Draw(r, "literal")
			}
		case tree.Array, tree.Object:
			v.Sub = tree.New(tree.Limits{}).Root()
		}
		found := x.Find(v)
		for i := range constants {
			if got, want := slices.Contains(found, int32(i)), constants[i].equal(v); got != want {
				r.Fatalf("%+v with %+v: %v by the index, %v alone", v, constants[i], got, want)
			}
		}
	})
}

func TestGuards(t *testing.T) {
	for source, want := range map[string][]string{
		`equals("a", 1)`: {"a"},
		`equals("a", 1) && oneOf("b", ["x"]) && exists("c")`: {"a", "b"},
		`equals("a", 1) || equals("a", 2)`:                   {"a"},
		`(equals("a", 1) || equals("a", 2)) && exists("b")`:  {"a"},
		`equals("a", 1) || equals("b", 2)`:                   nil,
		`!equals("a", 1)`:                                    nil,
		`equals("a", 1) && log.x == 1`:                       nil, // can fail
		`equals("a.#", 1)`:                                   nil,
		`exists("a")`:                                        nil,
	} {
		p, err := Compile(source, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range p.Guards() {
			got = append(got, g.Path.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
