package expr

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/epmesh/epmesh/node/tree"
)

// celValue gives a value to CEL; numbers are doubles. Objects stay where they
// are and are read member by member.
func celValue(v tree.Value) ref.Val {
	switch v.Kind {
	case tree.True, tree.False:
		return types.Bool(v.Kind == tree.True)
	case tree.Number:
		return types.Double(v.Num)
	case tree.String:
		return types.String(v.Text)
	case tree.Object:
		return &object{of: v.Sub}
	case tree.Array:
		list := make([]ref.Val, 0, v.Sub.Len())
		v.Sub.Each(func(_ string, item tree.Value) bool {
			list = append(list, celValue(item))
			return true
		})
		return types.NewRefValList(types.DefaultTypeAdapter, list)
	}
	return types.NullValue
}

// object is an Object as CEL's map. What is rarely asked of a map (equality,
// iteration) goes to a whole copy, made on demand.
type object struct {
	of tree.Container
	traits.Mapper
}

func (o *object) whole() traits.Mapper {
	if o.Mapper == nil {
		m := make(map[ref.Val]ref.Val, o.of.Len())
		o.of.Each(func(key string, v tree.Value) bool {
			m[types.String(key)] = celValue(v)
			return true
		})
		o.Mapper = types.NewRefValMap(types.DefaultTypeAdapter, m)
	}
	return o.Mapper
}

func (o *object) Find(key ref.Val) (ref.Val, bool) {
	if s, ok := key.(types.String); ok {
		if v := o.of.Member(string(s)); v.Exists() {
			return celValue(v), true
		}
		return nil, false
	}
	return o.whole().Find(key)
}

func (o *object) Get(key ref.Val) ref.Val {
	if v, ok := o.Find(key); ok {
		return v
	} else if v != nil {
		return v
	}
	return o.whole().Get(key)
}

func (o *object) Contains(key ref.Val) ref.Val {
	if s, ok := key.(types.String); ok {
		return types.Bool(o.of.Member(string(s)).Exists())
	}
	return o.whole().Contains(key)
}

func (o *object) Type() ref.Type                   { return types.MapType }
func (o *object) Size() ref.Val                    { return types.Int(o.of.Len()) }
func (o *object) Equal(other ref.Val) ref.Val      { return o.whole().Equal(wholeOf(other)) }
func (o *object) Iterator() traits.Iterator        { return o.whole().Iterator() }
func (o *object) ConvertToType(t ref.Type) ref.Val { return o.whole().ConvertToType(t) }
func (o *object) Value() any                       { return o.whole().Value() }

func wholeOf(v ref.Val) ref.Val {
	if o, ok := v.(*object); ok {
		return o.whole()
	}
	return v
}
