package cel

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
)

// BenchmarkHistorySync judges events with 512 and 128 calls in flight, as the lane
// has them, and with one, over each kind of history, and compares with a history
// in memory. The kinds take turns, so that what else the machine does meets all.
func BenchmarkHistorySync(b *testing.B) {
	const events, rounds = 5_000, 4
	kinds := []string{"memory", "never", "1s", "always"}
	for _, flight := range []int{512, 128, 1} {
		b.Run(fmt.Sprint("flight=", flight), func(b *testing.B) {
			var analyzers []*analyzer
			for _, kind := range kinds {
				a := compile(b, bruteForce)
				s := defaultHistory()
				s.Store, s.Sync = "disk", kind
				if kind == "memory" {
					s.Store, s.Sync = "memory", "always"
				}
				st, err := openHistory(plugins.Instance{Name: "cel", Dir: b.TempDir(), Logger: a.Logger}, s)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = st.Close() })
				a.store = st
				set := a.set.Load()
				if err := st.Watch(history.Paths{Terms: set.terms, Words: set.words}); err != nil {
					b.Fatal(err)
				}
				analyzers = append(analyzers, a)
			}
			n := min(events, max(events*flight/128, 50))
			took := make([]time.Duration, len(kinds))
			next, per := 0, 0
			for b.Loop() {
				for range rounds {
					list := make([]*pb.Event, n)
					for i := range list {
						list[i] = event(fmt.Sprint(next), fmt.Sprint(next%10_000), "failed")
						next++
					}
					for i, a := range analyzers {
						took[i] += drive(b, a, list, flight)
					}
					per += n
				}
			}
			for i, kind := range kinds {
				b.ReportMetric(float64(per)/took[i].Seconds(), kind+"-events/s")
				b.ReportMetric(took[0].Seconds()/took[i].Seconds(), kind+"/memory")
			}
			s := analyzers[len(kinds)-1].store.Stats()
			b.ReportMetric(float64(s.Events)/float64(s.Writes), "events/sync")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// drive holds events against the rules with so many calls in flight.
func drive(b *testing.B, a *analyzer, list []*pb.Event, flight int) time.Duration {
	var next atomic.Int64
	var group sync.WaitGroup
	begin := time.Now()
	for range flight {
		group.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(list); i = next.Add(1) - 1 {
				if err := a.analyze(b.Context(), list[i], func(*pb.Alert) error { return nil }); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(begin)
}
