package lint

import (
	"slices"
	"strings"

	"github.com/epmesh/epmesh/config"
	"google.golang.org/protobuf/proto"
)

// duplicates finds pipelines and steps that stand in each other's way.
func (l *linter) duplicates() {
	first := map[string][]*line{} // pipelines before, by data type
	for _, of := range l.lines {
		l.overlaps(of, first)
		for _, dataType := range slices.Compact(slices.Sorted(slices.Values(of.DataTypes))) {
			if len(first[dataType]) < maxOverlaps {
				first[dataType] = append(first[dataType], of)
			}
		}
		l.unreachable(of)
		l.overwritten(of)
	}
}

// maxOverlaps bounds how many pipelines of one data type are compared.
const maxOverlaps = 50

func (l *linter) overlaps(of *line, first map[string][]*line) {
	told := map[*line]bool{}
	shadowed := len(of.DataTypes) > 0
	var by *line
	for i, dataType := range of.DataTypes {
		dropped := false
		for _, before := range first[dataType] {
			if before.drops != nil {
				dropped, by = true, before
			}
			if told[before] || i > maxOverlaps {
				continue
			}
			told[before] = true
			if sameSteps(of, before) {
				l.find(duplicatePipeline, of.Position, "remove one of them: both run, one after the other", "the pipeline has the same steps as that of %s, for %s too", before.Position, dataType)
			} else {
				l.find(overlappingPipeline, of.At("dataTypes").Position, "", "the pipeline of %s lists %s too; both run, that one first", before.Position, dataType)
			}
		}
		shadowed = shadowed && dropped
	}
	if shadowed {
		l.find(shadowedPipeline, of.Position, "give the drop a where", "no log gets here: the pipeline of %s drops all of them", by.Position)
	}
}

func sameSteps(a, b *line) bool {
	return len(a.Steps) > 0 && slices.EqualFunc(a.Steps, b.Steps, func(x, y config.Step) bool { return proto.Equal(x.Proto, y.Proto) })
}

func (l *linter) unreachable(of *line) {
	for i, s := range of.steps {
		if s == of.drops && i+1 < len(of.steps) {
			l.find(unreachableStep, of.steps[i+1].Position, "give the drop a where", "no log gets here: the drop in line %d drops all of them", s.Position.Line)
		}
	}
}

// overwritten finds adds of one field under one condition: the later wins.
func (l *linter) overwritten(of *line) {
	pending := newAdds()
	for _, s := range of.steps {
		// What is read in between had its effect.
		for _, r := range s.reads {
			pending.read(r.path)
		}
		if s.where != nil {
			for _, r := range s.where.Reads {
				pending.read(r.Path)
			}
		}
		k := addKey{where: strings.TrimSpace(s.source)}
		earlier := (*step)(nil)
		isAdd := s.Kind == "add" && len(s.writes) > 0 && (s.source == "" || s.where != nil)
		if isAdd {
			k.path = s.writes[0].path
			earlier = pending.steps[k]
		}
		// A condition may have another answer once a field it asks for is changed.
		for _, list := range [][]use{s.writes, s.removes} {
			for _, u := range list {
				pending.changed(u.path)
			}
		}
		switch {
		case s.all || s.log || s.Kind == "drop":
			pending = newAdds()
		case isAdd:
			if earlier != nil {
				under := "under the same condition"
				if k.where == "" {
					under = "as always"
				}
				l.find(overwrittenStep, earlier.writes[0].at, "remove one of them", "the add in line %d sets %s too, %s, so this one has no effect", s.Position.Line, k.path, under)
			}
			if !s.asks(k.path) {
				pending.add(k, s)
			}
		}
	}
}

// addKey is what two adds have in common of which one is in vain.
type addKey struct{ path, where string }

// adds are adds that had no effect so far, but for what they wrote.
type adds struct {
	steps map[addKey]*step
	// writing and asking are the adds by the fields they write, and by those that
	// their conditions ask for; each also under all that lie above.
	writing, asking, askingAt map[string][]addKey
}

func newAdds() *adds {
	return &adds{map[addKey]*step{}, map[string][]addKey{}, map[string][]addKey{}, map[string][]addKey{}}
}

func (a *adds) add(k addKey, s *step) {
	if a.steps[k] == nil {
		for p := range above(k.path) {
			a.writing[p] = append(a.writing[p], k)
		}
		if s.where != nil {
			for _, r := range s.where.Reads {
				a.askingAt[r.Path] = append(a.askingAt[r.Path], k)
				for p := range above(r.Path) {
					a.asking[p] = append(a.asking[p], k)
				}
			}
		}
	}
	a.steps[k] = s
}

// read tells that a field, with what is below it, is looked at.
func (a *adds) read(path string) {
	a.forget(a.writing, path)
	for p := range above(path) {
		for _, k := range a.writing[p] {
			if within(path, k.path) {
				delete(a.steps, k)
			}
		}
	}
}

// changed tells that a field is written or goes away.
func (a *adds) changed(path string) {
	a.forget(a.asking, path)
	for p := range above(path) {
		a.forget(a.askingAt, p)
	}
}

func (a *adds) forget(in map[string][]addKey, path string) {
	for _, k := range in[path] {
		delete(a.steps, k)
	}
	delete(in, path)
}

// asks reports whether the condition looks at a path.
func (s *step) asks(path string) bool {
	if s.where != nil {
		for _, r := range s.where.Reads {
			if within(r.Path, path) || within(path, r.Path) {
				return true
			}
		}
	}
	return false
}
