package archive

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/wire"
)

const (
	benchCalls  = 128 // at once, as many as a node has by default
	benchEvents = 4096
)

// BenchmarkArchive measures events a second into files that are synced before
// each call is answered, with 128 calls at once, against two baselines of the
// same run with the same lines, uncompressed: "of-single" against one write and
// one sync for each line, "of-grouped" against one write and one sync for each
// 128 lines, with nothing else done. Bytes are what a line has in the file.
//
//	go test ./plugins/archive -run '^$' -bench Archive -benchtime 3x
func BenchmarkArchive(b *testing.B) {
	for _, compression := range []string{zstdName, gzipName} {
		b.Run(compression, func(b *testing.B) {
			events := someEvents(benchEvents, "t1")
			var text [][]byte
			raw := 0
			for _, e := range events {
				line, err := wire.JSON(e)
				if err != nil {
					b.Fatal(err)
				}
				text = append(text, append(line, '\n'))
				raw += len(line) + 1
			}
			var ours, single, grouped time.Duration
			var bytes int64
			for b.Loop() {
				a := build(b, values{"compression": compression})
				if err := a.open(); err != nil {
					b.Fatal(err)
				}
				var next atomic.Int64
				var calls sync.WaitGroup
				began := time.Now()
				for range benchCalls {
					calls.Go(func() {
						for i := next.Add(1) - 1; i < benchEvents; i = next.Add(1) - 1 {
							if err := a.event(b.Context(), events[i]); err != nil {
								b.Error(err)
							}
						}
					})
				}
				calls.Wait()
				ours += time.Since(began)
				shut(b, a)
				for _, name := range files(b, a.Settings.Dir) {
					info, err := os.Stat(filepath.Join(a.Settings.Dir, name))
					if err != nil {
						b.Fatal(err)
					}
					bytes += info.Size()
				}
				const few = benchEvents / 8 // one by one takes its time
				single += synced(b, text[:few], 1) * (benchEvents / few)
				grouped += synced(b, text, benchCalls)
			}
			n := float64(b.N)
			b.ReportMetric(n*benchEvents/ours.Seconds(), "events/s")
			b.ReportMetric(float64(bytes)/n/benchEvents, "B/event")
			b.ReportMetric(float64(raw)/benchEvents, "raw-B/event")
			b.ReportMetric(single.Seconds()/ours.Seconds(), "of-single")
			b.ReportMetric(grouped.Seconds()/ours.Seconds(), "of-grouped")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// synced writes lines to a file, so many with one write and one sync.
func synced(b *testing.B, lines [][]byte, group int) time.Duration {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	began := time.Now()
	var text []byte
	for i, line := range lines {
		if text = append(text, line...); (i+1)%group == 0 {
			if _, err := f.Write(text); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			text = text[:0]
		}
	}
	return time.Since(began)
}
