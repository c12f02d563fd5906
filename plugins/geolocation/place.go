package geolocation

import (
	"strconv"
	"unicode/utf8"
)

// place is where an address is: what one database says, as a whole.
type place struct {
	country, code, city string
	latitude, longitude float64
	located             bool // the two above are known
	accuracy            uint32
}

// network is whose it is.
type network struct {
	number uint64
	org    string
}

func (p place) empty() bool   { return p == place{} }
func (n network) empty() bool { return n == network{} }

// appendJSON writes the two as a Geolocation. What is not known is not there; if
// nothing is, that is an empty object.
func appendJSON(b []byte, p place, n network) []byte {
	b = append(b, '{')
	start := len(b)
	key := func(name string) {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"', ':')
	}
	text := func(name, v string) {
		if v != "" {
			key(name)
			b = appendText(b, v)
		}
	}
	text("country", p.country)
	text("countryCode", p.code)
	text("city", p.city)
	if p.located {
		key("latitude")
		b = strconv.AppendFloat(b, p.latitude, 'f', -1, 64)
		key("longitude")
		b = strconv.AppendFloat(b, p.longitude, 'f', -1, 64)
	}
	if p.accuracy != 0 {
		key("accuracy")
		b = strconv.AppendUint(b, uint64(p.accuracy), 10)
	}
	if n.number != 0 {
		key("asn")
		b = strconv.AppendUint(b, n.number, 10)
	}
	text("aso", n.org)
	return append(b, '}')
}

// appendText writes a JSON text; what is not UTF-8 becomes U+FFFD.
func appendText(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
