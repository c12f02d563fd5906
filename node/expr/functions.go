package expr

import (
	"net/netip"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/epmesh/epmesh/node/tree"
)

// test decides about the value at a path, which may be missing.
type test func(v tree.Value) bool

// function is one function of the reference: f(path, arguments...).
type function struct {
	name string
	// arguments are the types after the path, one list an overload.
	arguments [][]*cel.Type
	// result is the type of each overload; nil means bool for all.
	result []*cel.Type
	// make works out a test for given arguments: string, int64, float64, bool
	// or []any. It never fails: what makes no sense is a test that is false.
	make func(c *caches, args []any) test
}

var (
	str      = []*cel.Type{cel.StringType}
	whole    = []*cel.Type{cel.IntType}
	double   = []*cel.Type{cel.DoubleType}
	boolean  = []*cel.Type{cel.BoolType}
	list     = []*cel.Type{cel.ListType(cel.StringType)}
	anyList  = []*cel.Type{cel.ListType(cel.DynType)}
	noArgs   = []*cel.Type{}
	numbers  = [][]*cel.Type{str, whole, double}
	textList = [][]*cel.Type{str, list}
)

var functions = []*function{
	{name: "exists", arguments: [][]*cel.Type{noArgs}, make: func(*caches, []any) test { return tree.Value.Exists }},
	{name: "safe", arguments: [][]*cel.Type{str, double, boolean, whole}, result: []*cel.Type{cel.StringType, cel.DoubleType, cel.BoolType, cel.DynType}},
	{name: "equals", arguments: [][]*cel.Type{str, whole, double, boolean}, make: equals},
	{name: "oneOf", arguments: [][]*cel.Type{anyList}, make: oneOf},
	{name: "equalsIgnoreCase", arguments: [][]*cel.Type{str}, make: ofText(strings.EqualFold)},
	{name: "contains", arguments: textList, make: ofText(strings.Contains)},
	{name: "containsAll", arguments: [][]*cel.Type{list}, make: containsAll},
	{name: "startsWith", arguments: textList, make: ofText(strings.HasPrefix)},
	{name: "endsWith", arguments: textList, make: ofText(strings.HasSuffix)},
	{name: "regexMatch", arguments: [][]*cel.Type{str}, make: regexMatch},
	{name: "inCIDR", arguments: [][]*cel.Type{str}, make: inCIDR},
	{name: "lessThan", arguments: numbers, make: ofNumber(func(a, b float64) bool { return a < b })},
	{name: "greaterThan", arguments: numbers, make: ofNumber(func(a, b float64) bool { return a > b })},
	{name: "lessOrEqual", arguments: numbers, make: ofNumber(func(a, b float64) bool { return a <= b })},
	{name: "greaterOrEqual", arguments: numbers, make: ofNumber(func(a, b float64) bool { return a >= b })},
	{name: "isHour", arguments: [][]*cel.Type{whole}, make: ofTime(time.Time.Hour)},
	{name: "isMinute", arguments: [][]*cel.Type{whole}, make: ofTime(time.Time.Minute)},
	{name: "isDayOfWeek", arguments: [][]*cel.Type{whole}, make: ofTime(func(t time.Time) int { return int(t.Weekday()) })},
	{name: "isWeekend", arguments: [][]*cel.Type{noArgs}, make: ofDay(func(d time.Weekday) bool { return d == time.Saturday || d == time.Sunday })},
	{name: "isWorkDay", arguments: [][]*cel.Type{noArgs}, make: ofDay(func(d time.Weekday) bool { return d != time.Saturday && d != time.Sunday })},
	{name: "isBetweenTime", arguments: [][]*cel.Type{{cel.StringType, cel.StringType}}, make: isBetweenTime},
}

var functionNamed = func() map[string]*function {
	m := make(map[string]*function, len(functions))
	for _, f := range functions {
		m[f.name] = f
	}
	return m
}()

func never(tree.Value) bool { return false }

func equals(_ *caches, args []any) test {
	c := newConstant(args[0])
	return c.equal
}

func oneOf(_ *caches, args []any) test {
	items, ok := args[0].([]any)
	if !ok {
		return never
	}
	constants := make([]constant, len(items))
	for i, item := range items {
		constants[i] = newConstant(item)
	}
	return anyOf(constants)
}

// anyOf is equality with one of some constants.
func anyOf(constants []constant) test {
	if len(constants) > 8 {
		x := NewIndex()
		x.Add(Guard{equals: constants}, 0)
		return func(v tree.Value) bool { return len(x.Find(v)) > 0 }
	}
	return func(v tree.Value) bool {
		if !v.Exists() {
			return false
		}
		for i := range constants {
			if constants[i].equal(v) {
				return true
			}
		}
		return false
	}
}

// texts are the texts of a string or list argument; items of lists are
// trimmed, and what is no text in a list fits nothing.
func texts(arg any) []string {
	switch a := arg.(type) {
	case string:
		return []string{a}
	case []any:
		found := make([]string, 0, len(a))
		for _, item := range a {
			if s, ok := item.(string); ok {
				found = append(found, strings.TrimSpace(s))
			}
		}
		return found
	}
	return nil
}

// ofText is a test of a string against any of the texts of the argument.
func ofText(fits func(field, text string) bool) func(*caches, []any) test {
	return func(_ *caches, args []any) test {
		wanted := texts(args[0])
		if len(wanted) == 1 {
			text := wanted[0]
			return func(v tree.Value) bool { return v.Kind == tree.String && fits(v.Text, text) }
		}
		return func(v tree.Value) bool {
			if v.Kind != tree.String {
				return false
			}
			for _, text := range wanted {
				if fits(v.Text, text) {
					return true
				}
			}
			return false
		}
	}
}

func containsAll(_ *caches, args []any) test {
	items, ok := args[0].([]any)
	wanted := texts(args[0])
	if !ok || len(wanted) != len(items) {
		return never
	}
	return func(v tree.Value) bool {
		if v.Kind != tree.String {
			return false
		}
		for _, text := range wanted {
			if !strings.Contains(v.Text, text) {
				return false
			}
		}
		return true
	}
}

func regexMatch(c *caches, args []any) test {
	text, _ := args[0].(string)
	search, err := c.patterns.Search(text)
	if err != nil {
		c.warn("regexMatch is always false: %v", err)
		return never
	}
	if search.MayGiveUp() && c.slow != nil {
		c.slow()
	}
	return func(v tree.Value) bool { return v.Kind == tree.String && search.Match(v.Text) }
}

// inCIDR reads addresses as the net package does: an IPv4 address may come in
// its IPv6 form.
func inCIDR(c *caches, args []any) test {
	text, _ := args[0].(string)
	network, err := netip.ParsePrefix(text)
	if err != nil {
		c.warn("inCIDR is always false: %v", err)
		return never
	}
	if a := network.Addr(); a.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(a.Unmap(), network.Bits()-96)
	}
	network = network.Masked()
	return func(v tree.Value) bool {
		if v.Kind != tree.String || len(v.Text) > 64 || strings.IndexByte(v.Text, '%') >= 0 {
			return false
		}
		a, err := netip.ParseAddr(v.Text)
		return err == nil && network.Contains(a.Unmap())
	}
}

func ofNumber(holds func(a, b float64) bool) func(*caches, []any) test {
	return func(_ *caches, args []any) test {
		c := newConstant(args[0])
		if !c.isNum {
			return never
		}
		return func(v tree.Value) bool {
			f, ok := numeric(v)
			return ok && holds(f, c.num)
		}
	}
}

// timeOf reads a field as an RFC 3339 time in its own offset.
func timeOf(v tree.Value) (time.Time, bool) {
	if v.Kind != tree.String || len(v.Text) < len("2006-01-02T5:04:05Z") || len(v.Text) > 64 {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, v.Text)
	return t, err == nil
}

func ofTime(part func(time.Time) int) func(*caches, []any) test {
	return func(_ *caches, args []any) test {
		want, ok := args[0].(int64)
		if !ok {
			return never
		}
		return func(v tree.Value) bool {
			t, ok := timeOf(v)
			return ok && int64(part(t)) == want
		}
	}
}

func ofDay(is func(time.Weekday) bool) func(*caches, []any) test {
	return func(*caches, []any) test {
		return func(v tree.Value) bool {
			t, ok := timeOf(v)
			return ok && is(t.Weekday())
		}
	}
}

func isBetweenTime(c *caches, args []any) test {
	var bounds [2]int
	for i, arg := range args {
		text, _ := arg.(string)
		t, err := time.Parse("15:04", text)
		if err != nil {
			c.warn("isBetweenTime is always false: %q is not HH:MM", text)
			return never
		}
		bounds[i] = t.Hour()*60 + t.Minute()
	}
	start, end := bounds[0], bounds[1]
	return func(v tree.Value) bool {
		t, ok := timeOf(v)
		if !ok {
			return false
		}
		now := t.Hour()*60 + t.Minute()
		if start <= end {
			return start <= now && now <= end
		}
		return now >= start || now <= end
	}
}
