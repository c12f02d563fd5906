package incidents

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/epmesh/epmesh/plugins/internal/fields"
	pb "github.com/epmesh/epmesh/proto"
)

const (
	// maxPaths is how many paths of one alert are looked at.
	maxPaths = 16
	// maxText bounds a text that is kept or shown, maxID an alert's id.
	maxText = 256
	maxID   = 128
)

// facts are what of an alert decides.
type facts struct {
	alert *pb.Alert
	id    string // bounded
	// raised is its own timestamp in Unix milliseconds, 0 where it has none. at is
	// that, or now where there is none or it is still to come.
	raised, at int64
	severity   int
	name       string
	target     string

	group     string // key of its group
	groupedBy map[string]string
	same      string // key of the alerts that equal it, "" if none do
	record    string // key of its own
}

func factsOf(a *pb.Alert, s *settings, now time.Time) *facts {
	f := &facts{alert: a, id: boundedID(a.Id), severity: rankOf(a), name: cut(a.Name, maxText), target: cut(named(a.Target), maxText)}
	f.at = now.UnixMilli()
	if t, err := time.Parse(time.RFC3339Nano, a.Timestamp); err == nil && t.UnixMilli() > 0 {
		f.raised = t.UnixMilli()
		f.at = min(f.at, f.raised)
	}
	f.record = recordKey(a.TenantId, f.id)
	if values := valuesOf(a, a.GroupBy); len(values) > 0 {
		f.groupedBy = values
	} else {
		for _, path := range s.GroupBy {
			if v := valueOf(a, path); v != "" {
				f.groupedBy = map[string]string{path: v}
				break
			}
		}
	}
	if len(f.groupedBy) > 0 {
		f.group = key("g", append([]string{a.TenantId}, flat(f.groupedBy)...)...)
	} else {
		f.group = key("g", a.TenantId, f.id) // grouped ones have an odd number of parts
	}
	if s.DeduplicateFor > 0 {
		if values := valuesOf(a, a.DeduplicateBy); len(values) > 0 {
			// A path without a value equals only the same path without one.
			for _, path := range paths(a.DeduplicateBy) {
				if _, ok := values[path]; !ok {
					values[path] = ""
				}
			}
			f.same = key("d", append([]string{a.TenantId, a.Name}, flat(values)...)...)
		}
	}
	return f
}

// paths are the first of a list, each once.
func paths(list []string) []string {
	var out []string
	for _, p := range list {
		if len(out) < maxPaths && p != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// valuesOf are the values of those paths that have one.
func valuesOf(a *pb.Alert, list []string) map[string]string {
	values := map[string]string{}
	for _, path := range paths(list) {
		if v := valueOf(a, path); v != "" {
			values[path] = v
		}
	}
	return values
}

// flat lists paths and values in the order of the paths.
func flat(values map[string]string) []string {
	list := make([]string, 0, 2*len(values))
	for path := range values {
		list = append(list, path)
	}
	slices.Sort(list)
	for i := len(list) - 1; i >= 0; i-- {
		list = slices.Insert(list, i+1, values[list[i]])
	}
	return list
}

// valueOf reads a path of groupBy or deduplicateBy: one of the alert, or
// lastEvent.x for its last event. A path of an event, as older rules have it
// ("origin.ip"), is one of the last event. A list is compared as a whole.
func valueOf(a *pb.Alert, path string) string {
	var last *pb.Event
	if len(a.Events) > 0 {
		last = a.Events[len(a.Events)-1]
	}
	if rest, ok := strings.CutPrefix(path, "lastEvent."); ok {
		return fields.Text(fields.Get(last, rest))
	}
	if v := fields.Get(a, path); v != nil {
		return fields.Text(v)
	}
	return fields.Text(fields.Get(last, path))
}

// key is a key of the state for what the parts are, which may be of any length.
func key(kind string, parts ...string) string {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	var sum [sha256.Size]byte
	return kind + "." + keyText.EncodeToString(h.Sum(sum[:0])[:20])
}

var keyText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// isGroupKey reports whether a stored text can be the key of a group.
func isGroupKey(s string) bool {
	return strings.HasPrefix(s, "g.") && len(s) == len("g.")+keyText.EncodedLen(20)
}

func recordKey(tenant, id string) string       { return key("a", tenant, id) }
func incidentKey(tenant, parent string) string { return key("i", tenant, parent) }

// boundedID is an alert's id; where that is too long, or would be longer as JSON,
// a hash stands for it.
func boundedID(id string) string {
	if len(id) <= maxID && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune("\"\\<>&\u2028\u2029", r) }) {
		return id
	}
	return key("~", id)
}

// cut is at most n bytes from the beginning of a text, whole runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// ranks are the severities from the lowest to the highest.
var ranks = []string{"none", "low", "medium", "high", "critical"}

// rankOf is the place of an alert's severity among them; where it is another
// word, that of its impact.
func rankOf(a *pb.Alert) int {
	if n := slices.Index(ranks, strings.ToLower(a.Severity)); n >= 0 {
		return n
	}
	return min(int(a.ImpactScore), len(ranks)-2)
}
