package expr

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"github.com/epmesh/epmesh/node/pattern"
)

// arguments checks what stands after the path.
func (w *walker) arguments(call ast.CallExpr) {
	name, args := call.FunctionName(), call.Args()[2:]
	if len(args) == 0 {
		return
	}
	first := args[0]
	value := literal(first)
	if value == nil {
		return
	}
	at, arg := w.offset(first), goValue(value)
	switch name {
	case "regexMatch":
		if text, ok := arg.(string); ok {
			w.regexp(at, text)
		}
	case "inCIDR":
		if text, ok := arg.(string); ok {
			w.network(at, text)
		}
	case "isBetweenTime":
		for _, a := range args {
			if text, ok := literal(a).(types.String); ok {
				if _, err := time.Parse("15:04", string(text)); err != nil {
					w.find(BadArgument, w.offset(a), "write HH:MM, such as 08:30", "isBetweenTime is always false: %q is no time of day", string(text))
				}
			}
		}
	case "isHour", "isMinute", "isDayOfWeek":
		w.timePart(name, at, arg)
	case "lessThan", "greaterThan", "lessOrEqual", "greaterOrEqual":
		if text, ok := arg.(string); ok && !newConstant(text).isNum {
			w.find(BadArgument, at, "", "%s is always false: %q is no number", name, text)
		}
	case "oneOf", "contains", "containsAll", "startsWith", "endsWith":
		w.list(name, at, first, arg)
	}
}

func (w *walker) timePart(name string, at int, arg any) {
	part := map[string]struct {
		most int64
		is   string
	}{"isHour": {23, "an hour is 0 to 23"}, "isMinute": {59, "a minute is 0 to 59"}, "isDayOfWeek": {6, "a day of the week is 0 (Sunday) to 6"}}[name]
	if n, ok := arg.(int64); ok && (n < 0 || n > part.most) {
		w.find(BadArgument, at, part.is, "%s is always false: there is no %d", name, n)
	}
}

func (w *walker) network(at int, text string) {
	_, err := netip.ParsePrefix(text)
	if err == nil {
		return
	}
	hint := "write an address and a length, such as 192.0.2.0/24"
	if a, err := netip.ParseAddr(text); err == nil {
		hint = fmt.Sprintf("did you mean %s/%d?", text, a.BitLen())
	}
	w.find(BadArgument, at, hint, "inCIDR is always false: %q is no network", text)
}

// list checks a text or a list of texts.
func (w *walker) list(name string, at int, e ast.Expr, arg any) {
	all, isList := arg.([]any)
	if !isList {
		if text, ok := arg.(string); ok && text == "" && name != "oneOf" {
			w.find(BadArgument, at, `write exists(...) if any text will do`, "%s: every text fits an empty one", name)
		}
		return
	}
	if len(all) == 0 {
		if name == "containsAll" {
			w.find(BadArgument, at, "", "containsAll: every text fits an empty list")
		} else {
			w.find(BadArgument, at, "", "%s is always false: the list is empty", name)
		}
		return
	}
	elements := e.AsList().Elements()
	seen := make(map[any]bool, len(all))
	for i, item := range all {
		switch item.(type) {
		case string, int64, float64, bool:
		default:
			w.find(BadArgument, w.offset(elements[i]), "", "%s: an item of the list is neither text, number nor boolean", name)
			continue
		}
		key := item
		if text, ok := item.(string); ok && name != "oneOf" {
			key = strings.TrimSpace(text) // as these functions read it
			if key == "" {
				w.find(BadArgument, w.offset(elements[i]), "remove it from the list", "%s: every text fits an empty one", name)
			}
		}
		if seen[key] {
			w.find(DuplicateItem, w.offset(elements[i]), "remove one of them", "%s: %s is in the list twice", name, show(item))
		}
		seen[key] = true
	}
}

// regexp checks the expression of a regexMatch.
func (w *walker) regexp(at int, text string) {
	expanded, err := w.patterns.Expand(text)
	if unknown := (*pattern.UnknownError)(nil); errors.As(err, &unknown) {
		w.find(UnknownPattern, at, unknown.Name, "regexMatch is always false: unknown pattern {{.%s}}", unknown.Name)
		return
	}
	if err == nil {
		_, err = pattern.Compile(expanded)
	}
	if err != nil {
		hint := ""
		if windowsPath.MatchString(text) || badEscape.MatchString(err.Error()) {
			hint = pathHint
		}
		w.find(BadRegexp, at, hint, "regexMatch is always false: the regular expression does not compile: %s", shorten(err.Error()))
		return
	}
	if m := windowsPath.FindStringSubmatch(text); m != nil {
		w.find(PathEscape, at, pathHint, `\%s in a regular expression is the class \%s and the text %q, not a folder`, m[1], m[1][:1], m[1][1:])
	}
	if shape, err := pattern.ShapeOf(expanded); err == nil && shape.MatchesEmpty() {
		w.find(MatchesEverything, at, "is there an | too many, or a * that should be a +?", "regexMatch: the expression matches the empty text, and so every text")
	}
}

const pathHint = `a backslash itself is \\\\ in an expression: one pair for the text, one for the regular expression`

var (
	badEscape = regexp.MustCompile(`invalid (escape sequence|character class range): .\\[A-Za-z]`)
	// windowsPath finds the names of folders and programs after a backslash that
	// begins a class of characters or an assertion. What else these could mean,
	// such as \d and then "ns", is put up with where the name is a known one.
	windowsPath = regexp.MustCompile(`(?:^|[^\\])(?:\\\\)*\\((?:Windows|System32|SysWOW64|SoftwareDistribution|Documents|Desktop|Downloads|Device|system32|spool|drivers|dns|wbem|winsxs|WinSxS|Web|web|bin|sysvol|SYSVOL|Security|software|Software|SOFTWARE|SYSTEM|Startup|debug|data|Data)\b)`)
)

// shorten is the text of an error about a regular expression.
func shorten(text string) string {
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return strings.ToValidUTF8(strings.TrimPrefix(text, "regular expression: error parsing regexp: "), "?")
}
