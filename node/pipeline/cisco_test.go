package pipeline

import (
	"cmp"
	"context"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shared"
	pb "github.com/epmesh/epmesh/proto"
)

// ciscoLogs are the lines of the recordings, in order.
func ciscoLogs(t testing.TB, dir string) []*pb.Log {
	var logs []*pb.Log
	for _, log := range sharedLogs(t, dir) {
		logs = append(logs, log)
	}
	slices.SortFunc(logs, func(a, b *pb.Log) int { return cmp.Compare(a.Id, b.Id) })
	return logs
}

// BenchmarkCiscoASA runs the whole filter on its lines, in turn. The dynamic
// steps answer at once with the draft they are given.
func BenchmarkCiscoASA(b *testing.B) {
	set, _, dir := compileShared(b)
	logs := ciscoLogs(b, dir)
	b.ReportAllocs()
	i, start := 0, cpuTime()
	for b.Loop() {
		if _, err := set.Run(b.Context(), logs[i%len(logs)], echo); err != nil {
			b.Fatal(err)
		}
		i++
	}
	perSecond(b, start)
}

// perSecond reports how many logs a core does in a second; since is the
// processor time at which the loop began.
func perSecond(b *testing.B, since time.Duration) {
	if s := (cpuTime() - since).Seconds(); s > 0 {
		b.ReportMetric(math.Round(float64(b.N)/s), "logs/s")
	}
}

// BenchmarkReduced sets the whole filter against filters that hold, for each
// line, only the steps that really run for it. Each iteration runs all lines
// through both, so that both meet the same machine.
func BenchmarkReduced(b *testing.B) {
	dir := shared.Dir(b, "conformance", "cisco-asa")
	conf := load(b, filepath.Join(dir, "filter.yaml"), filepath.Join(dir, "patterns.yaml"))
	full, _ := Compile(conf, Options{})
	logs := ciscoLogs(b, dir)
	reduced := make([]*Set, len(logs))
	for i, log := range logs {
		reduced[i], _ = Compile(reduce(b, conf, log), Options{})
		want, err := full.Run(b.Context(), log, echo)
		if err != nil {
			b.Fatal(err)
		}
		got, err := reduced[i].Run(b.Context(), log, echo)
		if err != nil || asJSON(b, got.Event) != asJSON(b, want.Event) {
			b.Fatalf("%s: the reduced filter gives another event: %v", log.Id, err)
		}
	}
	var took [2]time.Duration
	for b.Loop() {
		for i, set := range []func(int) *Set{func(int) *Set { return full }, func(j int) *Set { return reduced[j] }} {
			start := cpuTime()
			for j, log := range logs {
				if _, err := set(j).Run(b.Context(), log, echo); err != nil {
					b.Fatal(err)
				}
			}
			took[i] += cpuTime() - start
		}
	}
	runs := float64(b.N * len(logs))
	b.ReportMetric(float64(took[0].Nanoseconds())/runs, "full-ns/log")
	b.ReportMetric(float64(took[1].Nanoseconds())/runs, "reduced-ns/log")
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "full/reduced")
	b.ReportMetric(0, "ns/op")
}

// reduce leaves in a configuration the steps that run for a log.
func reduce(t testing.TB, conf *config.Set, log *pb.Log) *config.Set {
	set, _ := Compile(conf, Options{})
	ran := make([][]bool, len(set.pipelines))
	dynamics := map[*pb.Step]*bool{}
	for i, l := range set.pipelines {
		ran[i] = make([]bool, len(l.steps))
		for j, st := range l.steps {
			if st.dynamic != nil {
				dynamics[st.dynamic] = &ran[i][j]
			} else {
				st.action = noting{st.action, &ran[i][j]}
			}
		}
	}
	_, err := set.Run(t.Context(), log, func(ctx context.Context, tr *pb.Transform) (*pb.Draft, error) {
		*dynamics[tr.GetStep()] = true
		return echo(ctx, tr)
	})
	if err != nil {
		t.Fatal(err)
	}
	out := &config.Set{Patterns: conf.Patterns}
	for i, p := range conf.Pipelines {
		steps := p.Steps
		p.Steps = nil
		for j, st := range steps {
			if ran[i][j] {
				p.Steps = append(p.Steps, st)
			}
		}
		out.Pipelines = append(out.Pipelines, p)
	}
	return out
}

// noting is an action that notes that it ran.
type noting struct {
	action
	ran *bool
}

func (n noting) apply(d *draft) error {
	*n.ran = true
	return n.action.apply(d)
}
