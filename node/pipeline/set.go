package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pattern"
	"github.com/epmesh/epmesh/node/tree"
	"google.golang.org/protobuf/proto"
)

// Options say how a Set works. The zero value is the default.
type Options struct {
	// StripUnderscore removes `_` from the names that steps write, as older
	// SDKs do.
	StripUnderscore bool
	// ListUnknown fills Result.UnknownFields.
	ListUnknown bool
	// Limits bound a draft; zero fields take their defaults. Limits.Bytes also
	// bounds a log's raw text.
	Limits tree.Limits
	// MaxTime is how long a log may take, without what plugins take: then the
	// steps that are left are not run. It is looked at between steps; zero means
	// ten seconds.
	MaxTime time.Duration
}

// Set is all pipelines, compiled. It is not changed after Compile; its methods
// may be called by many goroutines at once.
type Set struct {
	pipelines   []line
	byType      map[string][]int // indexes of pipelines, in order
	tenants     map[string]string
	plugins     []string
	fingerprint string
	options     Options
	drafts      sync.Pool

	// For Explain: what was compiled, and the parts of the steps' conditions,
	// as []*expr.Program by *step, once they were asked for.
	config *config.Set
	parts  sync.Map
}

// line is one pipeline.
type line struct {
	steps []*step
	// dispatch leaves out steps that cannot run; nil: each is tried.
	dispatch *dispatch
}

// Problem is a mistake in one step, found by Compile.
type Problem struct {
	Position config.Position
	Kind     string // of the step
	Err      error
}

func (p Problem) Error() string { return fmt.Sprintf("%s: %s: %v", p.Position, p.Kind, p.Err) }

func (p Problem) Unwrap() error { return p.Err }

// Compile compiles the pipelines of a configuration. The Set can always be
// used: a step with a problem adds it to the errors of each event that meets
// the step, and does nothing else.
func Compile(set *config.Set, options Options) (*Set, []Problem) {
	options.Limits = options.Limits.WithDefaults()
	if options.MaxTime == 0 {
		options.MaxTime = 10 * time.Second
	}
	s := &Set{byType: map[string][]int{}, tenants: map[string]string{}, options: options, config: set}
	c := compiler{options: options, patterns: pattern.New(set.Patterns), matchers: map[string]*matcher{}}
	plugins := map[string]bool{}
	for i, p := range set.Pipelines {
		var l line
		for j, configured := range p.Steps {
			st := c.compile(configured, j)
			if st.dynamic != nil && st.broken == nil {
				plugins[st.dynamic.GetDynamic().GetPlugin()] = true
			}
			l.steps = append(l.steps, st)
		}
		l.dispatch = newDispatch(l.steps)
		s.pipelines = append(s.pipelines, l)
		for _, dataType := range slices.Compact(slices.Sorted(slices.Values(p.DataTypes))) {
			s.byType[dataType] = append(s.byType[dataType], i)
		}
	}
	for _, t := range set.Tenants {
		s.tenants[t.GetId()] = t.GetName()
	}
	s.plugins = slices.Sorted(maps.Keys(plugins))
	s.fingerprint = fingerprint(set, options)
	s.drafts.New = func() any { return newDraft(options.Limits) }
	return s, c.problems
}

// Plugins are the names of the parsing plugins that dynamic steps call, sorted.
func (s *Set) Plugins() []string { return s.plugins }

// Fingerprint names what the pipelines do: sets with equal fingerprints index
// the same steps, so that a draft from one can be resumed by the other.
func (s *Set) Fingerprint() string { return s.fingerprint }

// fingerprint hashes what pipelines, steps and patterns say, not where.
func fingerprint(set *config.Set, options Options) string {
	h := sha256.New()
	write := func(parts ...string) {
		for _, part := range parts {
			fmt.Fprintf(h, "%d:%s", len(part), part)
		}
	}
	write("epmesh pipelines 1", fmt.Sprint(options.StripUnderscore))
	for _, p := range set.Pipelines {
		write("pipeline")
		write(p.DataTypes...)
		for _, st := range p.Steps {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(st.Proto)
			if err != nil { // text that is not UTF-8
				b = []byte(st.Proto.String())
			}
			write("step", string(b))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set.Patterns)) {
		write("pattern", name, set.Patterns[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
