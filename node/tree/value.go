package tree

import (
	"math"
	"strconv"
)

// Kind is what a value is. The zero Kind is Missing.
type Kind uint8

// The kinds of a value; Missing is that of a path where nothing stands.
const (
	Missing Kind = iota
	Null
	False
	True
	Number
	String
	Array
	Object
)

// Value is what stands at a path. It is passed by value and holds no copy of
// the document; it is valid until the document changes.
type Value struct {
	Kind Kind
	// Num is the number of a Number; ±Inf where the literal is out of range.
	Num float64
	// Text is the text of a String and the literal of a Number, "" where the
	// number was never written.
	Text string
	// Sub is what an Array or Object holds.
	Sub Container
}

// Container is an Array or Object, of whatever it is made.
type Container interface {
	Len() int
	// Member is the value under a key of an Object; Missing in an Array.
	Member(key string) Value
	// Index is the i-th value of an Array; Missing in an Object and outside.
	Index(i int) Value
	// Each calls yield for each value in order, with its key in an Object.
	Each(yield func(key string, v Value) bool)
	// AppendJSON appends the container as compact JSON.
	AppendJSON(b []byte) []byte
}

// Exists reports whether there is a value; an explicit null is one.
func (v Value) Exists() bool { return v.Kind != Missing }

// String is the text of a scalar: a String itself, a Number in plain decimal
// notation, "true" or "false", "" for null and what is missing; an Array or
// Object gives its JSON.
func (v Value) String() string {
	switch v.Kind {
	case String:
		return v.Text
	case Number:
		return numberText(v.Text, v.Num)
	case True:
		return "true"
	case False:
		return "false"
	case Array, Object:
		return string(v.Sub.AppendJSON(nil))
	}
	return ""
}

// numberText keeps a literal of digits as it is, whatever its size, and writes
// any other number without an exponent.
func numberText(literal string, num float64) string {
	digits := literal
	if digits == "" {
		return strconv.FormatFloat(num, 'f', -1, 64)
	}
	if digits[0] == '-' {
		digits = digits[1:]
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			if math.IsInf(num, 0) {
				return literal
			}
			return strconv.FormatFloat(num, 'f', -1, 64)
		}
	}
	return literal
}

// Descend is the value at the parts of a path below a value.
func (v Value) Descend(parts []string) Value {
	for _, part := range parts {
		switch v.Kind {
		case Object:
			v = v.Sub.Member(part)
		case Array:
			i, ok := index(part)
			if !ok {
				return Value{}
			}
			v = v.Sub.Index(i)
		default:
			return Value{}
		}
	}
	return v
}

// AppendJSON appends the value as compact JSON.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.Kind {
	case String:
		return AppendString(b, v.Text)
	case Missing, Null:
		return append(b, "null"...)
	case Number:
		if v.Text != "" {
			return append(b, v.Text...)
		}
		if math.IsInf(v.Num, 0) || math.IsNaN(v.Num) {
			return append(b, "null"...)
		}
		return strconv.AppendFloat(b, v.Num, 'g', -1, 64)
	case Array, Object:
		return v.Sub.AppendJSON(b)
	}
	return append(b, v.String()...)
}

// AppendContainer appends a container as compact JSON by going through its
// values.
func AppendContainer(b []byte, k Kind, c Container) []byte {
	open, end := byte('['), byte(']')
	if k == Object {
		open, end = '{', '}'
	}
	b = append(b, open)
	first := true
	c.Each(func(key string, v Value) bool {
		if !first {
			b = append(b, ',')
		}
		first = false
		if k == Object {
			b = append(AppendString(b, key), ':')
		}
		b = v.AppendJSON(b)
		return true
	})
	return append(b, end)
}
