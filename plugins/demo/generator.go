package demo

import (
	"math/rand/v2"
	"slices"
	"time"
)

// line is one log, due at a time after the start.
type line struct {
	at       time.Duration
	dataType string
	host     string
	text     func(time.Time) string
}

// generator makes lines in the order of their times. Attacks are planned by the
// clock, so that they come at any rate.
type generator struct {
	settings
	rng      *rand.Rand
	now      time.Duration // the last line's
	count    uint64        // of background lines
	plan     []line        // of attacks, by time
	mistyped time.Duration // when a login of the background last failed
	coming   time.Duration // when the next attack begins
}

func newGenerator(s settings) *generator {
	return &generator{settings: s, rng: rand.New(rand.NewPCG(s.Seed, 0x6570_6d65_7368)), coming: s.FirstAttack.D()}
}

// next returns the next line that is due before until.
func (g *generator) next(until time.Duration) (line, bool) {
	if g.Attacks && g.coming <= until {
		g.plan = append(g.plan, g.intrusion(g.coming)...)
		slices.SortStableFunc(g.plan, func(a, b line) int { return int(a.at - b.at) })
		g.coming += g.Every.D()
	}
	background := until + 1
	if g.Rate > 0 {
		background = time.Duration(float64(g.count) / g.Rate * float64(time.Second))
	}
	if len(g.plan) > 0 && g.plan[0].at <= min(background, until) {
		l := g.plan[0]
		g.plan = g.plan[1:]
		g.now = l.at
		return l, true
	}
	if background > until {
		g.now = until
		return line{}, false
	}
	g.count++
	g.now = background
	return g.background(background), true
}

// background is the day's work: mostly web requests, some logins, connections
// through the firewall, now and then a backup that is as large as what a thief
// takes.
func (g *generator) background(at time.Duration) line {
	switch n := g.rng.IntN(100); {
	case n < 60:
		return g.request(at, g.client(), pick(g, pages), g.status())
	case n < 63:
		// People mistype now and then, at any rate of traffic.
		ok := at-g.mistyped < 7*time.Second
		if !ok {
			g.mistyped = at
		}
		return g.login(at, g.client(), pick(g, users), ok)
	case n < 70:
		return g.session(at)
	}
	if g.rng.IntN(100) == 0 {
		return g.backup(at)
	}
	return g.connection(at)
}

func pick[T any](g *generator, list []T) T { return list[g.rng.IntN(len(list))] }
