package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Size is a number of bytes, written as a number or with a unit: "512KiB",
// "8MiB", "2GiB"; KB, MB and GB are powers of 1000.
type Size int64

// The units that sizes are written in.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// sizeUnits is in the order in which String tries them; the binary ones come
// first, as they are what limits are thought in.
var sizeUnits = []struct {
	name  string
	bytes Size
}{
	{"GiB", GiB},
	{"MiB", MiB},
	{"KiB", KiB},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"B", 1},
}

// ParseSize reads a size. Units may be in any case, with white space before.
func ParseSize(text string) (Size, error) {
	text = strings.TrimSpace(text)
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	unit := Size(1)
	if name := strings.TrimSpace(text[digits:]); name != "" {
		unit = 0
		for _, u := range sizeUnits {
			if strings.EqualFold(u.name, name) {
				unit = u.bytes
			}
		}
	}
	if digits == 0 || unit == 0 {
		return 0, fmt.Errorf("%q is not a size: write a whole number of bytes, or one with the unit B, KiB, MiB, GiB, KB, MB or GB, such as 512KiB", text)
	}
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return 0, fmt.Errorf("%q is too large for a size", text)
	}
	return Size(n) * unit, nil
}

// String is the size in the largest unit that needs no fraction; ParseSize
// reads it back.
func (s Size) String() string {
	if s != 0 {
		for _, u := range sizeUnits {
			if s%u.bytes == 0 {
				return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
			}
		}
	}
	return "0"
}

// MarshalText gives String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := ParseSize(string(text))
	if err != nil {
		return err
	}
	*s = n
	return nil
}

// UnmarshalYAML reads a number or a text.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: a size is a number or a text such as 512KiB", n.Line)
	}
	return s.UnmarshalText([]byte(n.Value))
}
