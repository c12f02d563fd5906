package cel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
)

// stormSettings bound the alerts that leave in a window. 0 is no bound.
type stormSettings struct {
	Window plugins.Duration `json:"window"`
	// Rule bounds the alerts of one rule for one tenant, Tenant all of a tenant,
	// and Everywhere those of one rule for all tenants.
	Rule       int `json:"rule"`
	Tenant     int `json:"tenant"`
	Everywhere int `json:"everywhere"`
}

func (s stormSettings) check(bad func(name string, ok bool, got any, want string)) {
	bad("storm.window", s.Window.D() >= time.Second && s.Window.D() <= time.Hour, s.Window, "1s to 1h")
	for name, n := range map[string]int{"rule": s.Rule, "tenant": s.Tenant, "everywhere": s.Everywhere} {
		bad("storm."+name, n >= 0, n, "0 (no limit) or more")
	}
}

// stormKey is what alerts are counted by: a rule with a tenant, a tenant alone,
// or a rule alone.
type stormKey struct{ rule, tenant string }

const (
	everyRule   = ""
	everyTenant = "\x00" // is no tenant
)

// storm is what left, and was held back, of one key in a window.
type storm struct {
	passed, held int
	// What follows is of those held back.
	first, last time.Time
	firstEvent  string
	tenantName  string
	dataType    string
	dataSource  string
	rule        *rule // of the worst impact
	score       uint32
	sources     map[string]int
	rules       map[string]int
	sample      []*pb.Event // of sources that differ, the first ones
	adversary   *pb.Side    // of the first
	bound       string      // the setting that was met
}

const (
	maxStormKeys = 100_000 // counted in a window; further ones are counted together
	maxSources   = 200     // told apart of one key
	maxSample    = 5
)

// hold notes one that is held back.
func (s *storm) hold(h hit, e *pb.Event, now time.Time, bound string) {
	a := side(h.rule, e)
	if s.held++; s.held == 1 {
		s.first, s.firstEvent = now, e.Id
		s.tenantName, s.dataType, s.dataSource, s.adversary = e.TenantName, e.DataType, e.DataSource, a
		s.sources, s.rules, s.bound = map[string]int{}, map[string]int{}, bound
	}
	s.last = now
	if score := impactScore(h.rule.proto); s.rule == nil || score > s.score {
		s.rule, s.score = h.rule, score
	}
	source := sourceOf(a, e)
	if s.sources[source] == 0 && len(s.sample) < maxSample {
		s.sample = append(s.sample, e)
	}
	countUp(s.sources, source)
	countUp(s.rules, h.rule.proto.Name)
}

const otherSources = "others"

func countUp(counts map[string]int, name string) {
	if _, known := counts[name]; !known && len(counts) >= maxSources {
		name = otherSources
	}
	counts[strings.Clone(name)]++
}

// side is the adversary of an alert.
func side(r *rule, e *pb.Event) *pb.Side {
	if r.proto.Adversary == "target" {
		return e.Target
	}
	return e.Origin
}

// sourceOf names whoever an alert is about.
func sourceOf(s *pb.Side, e *pb.Event) string {
	return cmp.Or(s.GetIp(), s.GetUser(), s.GetHost(), s.GetDomain(), e.DataSource, "unknown")
}

// summary is the alert about all that were held back of a key in a window. Its
// id derives from the key, the window and the first event.
func (s *storm) summary(key stormKey, window time.Time, settings stormSettings) *pb.Alert {
	name, what := "Alert Storm: "+s.rule.proto.Name, fmt.Sprintf("The rule %q", s.rule.proto.Name)
	if key.rule == everyRule {
		name, what = "Alert Storm: all rules of a tenant", "The rules of this tenant together"
	}
	text := fmt.Sprintf("%s made more alerts than %s allows in %s: %s were passed on, and %s were held back from %s to %s, which this alert stands for.\nSources: %s",
		what, s.bound, settings.Window, many(s.passed, "alert"), many(s.held, "more"), clock(s.first), clock(s.last), counted(s.sources))
	if key.rule == everyRule {
		text += "\nRules: " + counted(s.rules)
	}
	stamp := s.last.UTC().Format(time.RFC3339Nano)
	p := s.rule.proto
	return &pb.Alert{
		Id:   uuid.NewSHA1(alertSpace, fmt.Appendf(nil, "storm\x00%s\x00%s\x00%d\x00%s", key.rule, key.tenant, window.UnixNano(), s.firstEvent)).String(),
		Name: name, Category: cmp.Or(p.Category, "Alert Storm"), Technique: p.Technique, Description: text,
		References: p.References, Timestamp: stamp, LastUpdate: stamp,
		Impact: p.Impact, ImpactScore: s.score, Severity: severityOf(s.score),
		TenantId: key.tenant, TenantName: s.tenantName, DataType: s.dataType, DataSource: s.dataSource,
		Adversary: s.adversary, Events: s.sample,
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

func many(n int, word string) string {
	if n != 1 && word != "more" {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// maxNamed is how many sources a summary names.
const maxNamed = 10

// counted names what was counted, the most frequent first.
func counted(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	var list []string
	rest := 0
	for i, name := range names {
		if i < maxNamed && name != otherSources {
			list = append(list, fmt.Sprintf("%s (%d)", clip(name), counts[name]))
		} else {
			rest += counts[name]
		}
	}
	if rest > 0 {
		list = append(list, fmt.Sprintf("%s (%d)", otherSources, rest))
	}
	return strings.Join(list, ", ")
}

// clip bounds a name that came from outside.
func clip(name string) string {
	if len(name) > 100 {
		return strings.ToValidUTF8(name[:100], "") + "..."
	}
	return name
}
