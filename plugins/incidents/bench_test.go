package incidents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/hashicorp/go-hclog"
)

func access(s *natsServer) func() (bridge.StateAccess, error) {
	return func() (bridge.StateAccess, error) { return s.srv.StateAccess(), nil }
}

func openShared(tb testing.TB, s *natsServer, scope string) *bridge.State {
	tb.Helper()
	st, err := bridge.OpenState(context.Background(), bridge.StateOptions{Name: "bench", Scope: scope, Access: access(s)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(st.Close)
	return st
}

// BenchmarkPlugin measures the plugin as the node calls it, a process of its own
// with its messages acked, against bare updates of keys in the same bucket by as
// many callers, in one run:
//
//	go test ./plugins/incidents -run NONE -bench Plugin -benchtime 2s
//
// It reports alerts a second, bare updates a second, and their ratio.
func BenchmarkPlugin(b *testing.B) {
	for _, mode := range []struct {
		name string
		sync time.Duration
	}{{"relaxed", 2 * time.Minute}, {"always", 0}} {
		for _, groups := range []int{1, 10, 100_000} {
			b.Run(fmt.Sprintf("sync=%s/groups=%d", mode.name, groups), func(b *testing.B) {
				s := startServer(b, mode.sync)
				h := startHost(b, s, "")
				const callers = 128
				var n atomic.Int64
				each(b, callers, callers, func(int) { // the process is there, and connected
					if _, err := h.client.Correlate(context.Background(), alert(fmt.Sprint("w", n.Add(1)), "warm")); err != nil {
						b.Error(err)
					}
				})
				stamp := time.Now().UTC()
				b.ResetTimer()
				took := each(b, callers, b.N, func(i int) {
					a := alert(fmt.Sprint("a", i), fmt.Sprint("ip", i%groups))
					a.Timestamp = stamp.Add(time.Duration(i) * time.Millisecond).Format(time.RFC3339Nano)
					if _, err := h.client.Correlate(context.Background(), a); err != nil {
						b.Error(err)
					}
				})
				b.StopTimer()
				st := openShared(b, s, "bare")
				value := make([]byte, 512)
				bare := each(b, callers, b.N, func(i int) {
					if _, err := st.Put(context.Background(), fmt.Sprint("k", i), value, 0, time.Hour); err != nil {
						b.Error(err)
					}
				})
				alerts, updates := float64(b.N)/took.Seconds(), float64(b.N)/bare.Seconds()
				b.ReportMetric(alerts, "alerts/s")
				b.ReportMetric(updates, "updates/s")
				b.ReportMetric(alerts/updates, "ratio")
			})
		}
	}
}

// each calls f for 0 to n-1 from that many goroutines and tells how long it took.
func each(b *testing.B, callers, n int, f func(int)) time.Duration {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range callers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
	return time.Since(began)
}

// BenchmarkHotGroup is four ledgers, as of four nodes, with one group between
// them, against the same through the store without gathering: each alert a read
// and an update of its own, tried again after a conflict, by one caller a node.
//
//	go test ./plugins/incidents -run NONE -bench HotGroup -benchtime 1s
func BenchmarkHotGroup(b *testing.B) {
	const processes, callers = 4, 32
	s := startServer(b, 2*time.Minute)
	set := defaults()
	ledgers := make([]*ledger, processes)
	for n := range ledgers {
		ledgers[n] = newLedger(&set, openShared(b, s, "hot"), hclog.NewNullLogger())
		b.Cleanup(ledgers[n].close)
	}
	var id atomic.Int64
	b.ResetTimer()
	took := each(b, processes*callers, b.N, func(i int) {
		a := alert(fmt.Sprint("a", id.Add(1)), fmt.Sprint("hot", b.N))
		a.Timestamp = time.Now().UTC().Format(time.RFC3339Nano)
		if _, err := ledgers[i%processes].take(context.Background(), factsOf(a, &set, time.Now())); err != nil {
			b.Error(err)
		}
	})
	b.StopTimer()
	var writes, conflicts, records, lookups int64
	for _, l := range ledgers {
		writes += l.count.writes.Load()
		conflicts += l.count.conflicts.Load()
		records += l.count.records.Load()
		lookups += l.count.lookups.Load()
	}
	st := make([]*bridge.State, processes) // each caller takes whichever
	for n := range st {
		st[n] = openShared(b, s, "plain")
	}
	plainN := min(b.N, 200)
	var plainConflicts atomic.Int64
	plain := each(b, processes, plainN, func(i int) {
		for {
			e, err := st[i%processes].Get(context.Background(), "g")
			if err != nil {
				b.Error(err)
				return
			}
			g := new(group)
			if e.Value != nil {
				if err := json.Unmarshal(e.Value, g); err != nil {
					b.Error(err)
					return
				}
			}
			g.add(factsOf(alert(fmt.Sprint("p", i), "hot"), &set, time.Now()), &set)
			g.forget(max(0, len(g.Recent)-maxRecent))
			text, err := g.encode()
			if err != nil {
				b.Error(err)
				return
			}
			_, err = st[i%processes].Put(context.Background(), "g", text, e.Revision, time.Hour)
			if err == nil {
				return
			}
			if !errors.Is(err, bridge.ErrConflict) {
				b.Error(err)
				return
			}
			plainConflicts.Add(1)
		}
	})
	alerts, one := float64(b.N)/took.Seconds(), float64(plainN)/plain.Seconds()
	b.ReportMetric(alerts, "alerts/s")
	b.ReportMetric(one, "one-by-one/s")
	b.ReportMetric(alerts/one, "ratio")
	b.ReportMetric(float64(b.N)/float64(max(1, writes-conflicts)), "alerts/write")
	b.ReportMetric(float64(conflicts)/float64(max(1, writes)), "conflicts/write")
	b.ReportMetric(float64(plainConflicts.Load())/float64(plainN), "one-by-one-conflicts/alert")
	b.ReportMetric(float64(records+lookups)/float64(b.N), "records/alert")
}
