package cases

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
)

// Coverage says what the cases make of the pipelines that they test.
type Coverage struct {
	Steps int // in all pipelines
	Run   int // of them in a case at least
	// Idle are steps that no case runs, in pipelines that one enters.
	Idle []Step
	// Unchanging are steps that run and change nothing in any case, such as a
	// grok that never matches. Drop and dynamic steps are none.
	Unchanging []Step
	// Unentered are the pipelines that no case enters.
	Unentered []Step
}

// Step is a step or pipeline, and in how many cases it ran.
type Step struct {
	Position config.Position
	Kind     string // of a step
	Steps    int    // of a pipeline
	Runs     int
}

// Percent is how much of all steps runs, in percent.
func (c *Coverage) Percent() int {
	if c.Steps == 0 {
		return 100
	}
	return 100 * c.Run / c.Steps
}

// at is a step's place in the configuration.
type at struct{ pipeline, step int }

// use is what cases made of a step.
type use struct {
	runs    int // of cases in which its condition held
	changed bool
}

// uses are those of the steps of a set. A case that was given up may still add
// to them.
type uses struct {
	mu     sync.Mutex
	bySite map[at]use
}

func (u *uses) add(traces []pipeline.Trace) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bySite == nil {
		u.bySite = map[at]use{}
	}
	for _, t := range traces {
		if t.Outcome == pipeline.StepSkipped {
			continue
		}
		site := at{t.Pipeline, t.Step}
		now := u.bySite[site]
		now.runs++
		now.changed = now.changed || len(t.Changes) > 0
		u.bySite[site] = now
	}
}

func (u *uses) all() map[at]use {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.bySite)
}

// cover adds up what all sets have seen. A step that several sets
// have is one step.
func cover(files []File) *Coverage {
	type seen struct {
		step config.Step
		use
		line config.Position
	}
	steps, entered := map[config.Position]*seen{}, map[config.Position]int{}
	sizes := map[config.Position]int{}
	done := map[*loaded]bool{}
	for i := range files {
		l := files[i].set
		if l == nil {
			continue
		}
		for j := range files[i].Results {
			for _, line := range l.config.Pipelines {
				for _, log := range files[i].Results[j].Case.Logs() {
					if slices.Contains(line.DataTypes, log.GetDataType()) {
						entered[line.Position]++
						break
					}
				}
			}
		}
		if done[l] {
			continue
		}
		done[l] = true
		used := l.uses.all()
		for n, line := range l.config.Pipelines {
			sizes[line.Position] = len(line.Steps)
			for m, step := range line.Steps {
				s := steps[step.Position]
				if s == nil {
					s = &seen{step: step, line: line.Position}
					steps[step.Position] = s
				}
				u := used[at{n, m}]
				s.runs += u.runs
				s.changed = s.changed || u.changed
			}
		}
	}
	c := &Coverage{Steps: len(steps)}
	for _, s := range steps {
		step := Step{Position: s.step.Position, Kind: s.step.Kind, Runs: s.runs}
		switch {
		case s.runs == 0 && entered[s.line] > 0:
			c.Idle = append(c.Idle, step)
		case s.runs > 0 && !s.changed && s.step.Kind != "drop" && s.step.Kind != "dynamic":
			c.Unchanging = append(c.Unchanging, step)
		}
		if s.runs > 0 {
			c.Run++
		}
	}
	for line, n := range sizes {
		if entered[line] == 0 {
			c.Unentered = append(c.Unentered, Step{Position: line, Steps: n})
		}
	}
	for _, list := range [][]Step{c.Idle, c.Unchanging, c.Unentered} {
		slices.SortFunc(list, func(a, b Step) int {
			return cmp.Or(cmp.Compare(a.Position.File, b.Position.File), cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
		})
	}
	return c
}
