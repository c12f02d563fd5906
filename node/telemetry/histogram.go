package telemetry

import (
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// Histogram counts durations in buckets that double, from 100 µs to about
// 52 s. The zero value is not usable: see NewHistogram.
//
// Observe takes no lock and may be called by any number of goroutines at once:
// counters are kept in several copies, of which each call picks one, so that
// cores seldom write to the same memory.
type Histogram struct {
	shards []shard
	mask   uint32
}

const (
	firstBound = 100 * time.Microsecond
	bounds     = 20
)

// shard is one copy of the counters: a count for each bound, one for what is
// above all, and the sum of all in nanoseconds. It ends on a cache line.
type shard struct {
	counts [bounds + 1]atomic.Uint64
	sum    atomic.Int64
	_      [(64 - (bounds+2)*8%64) % 64]byte
}

// NewHistogram makes an empty histogram.
func NewHistogram() *Histogram {
	n := 1
	for n < runtime.GOMAXPROCS(0) && n < 16 {
		n *= 2
	}
	return &Histogram{shards: make([]shard, n), mask: uint32(n - 1)}
}

// Observe counts one duration. A negative one, as a clock that was set back
// gives it, counts as zero.
func (h *Histogram) Observe(d time.Duration) { h.ObserveN(d, 1) }

// ObserveN counts the same duration n times.
func (h *Histogram) ObserveN(d time.Duration, n uint64) {
	d = max(d, 0)
	s := &h.shards[rand.Uint32()&h.mask]
	s.counts[bucket(d)].Add(n)
	s.sum.Add(int64(d) * int64(n))
}

// bucket is the index of the first bound that d is not above.
func bucket(d time.Duration) int {
	if d <= firstBound {
		return 0
	}
	return min(bits.Len64(uint64((d-1)/firstBound)), bounds)
}

// HistogramSnapshot is what a histogram held at one time.
type HistogramSnapshot struct {
	Count uint64
	Sum   time.Duration
	// Buckets maps an upper bound in seconds to how many were not above it.
	Buckets map[float64]uint64
}

// Snapshot reads the histogram. What is observed meanwhile may or may not be
// in it; Count and Buckets agree with each other in any case.
func (h *Histogram) Snapshot() HistogramSnapshot {
	var counts [bounds + 1]uint64
	var sum int64
	for i := range h.shards {
		for j := range counts {
			counts[j] += h.shards[i].counts[j].Load()
		}
		sum += h.shards[i].sum.Load()
	}
	s := HistogramSnapshot{Sum: time.Duration(sum), Buckets: make(map[float64]uint64, bounds)}
	for j, n := range counts {
		s.Count += n
		if j < bounds {
			s.Buckets[(firstBound << j).Seconds()] = s.Count
		}
	}
	return s
}

// Quantile is the duration that a share q (0 to 1) of what was observed is not
// above, as exact as the buckets are. It is 0 where nothing was observed, and
// the largest bound for what lies above it.
func (s HistogramSnapshot) Quantile(q float64) time.Duration {
	if s.Count == 0 {
		return 0
	}
	rank := q * float64(s.Count)
	low, below := time.Duration(0), uint64(0)
	for j := range bounds {
		high := firstBound << j
		if n := s.Buckets[high.Seconds()]; float64(n) >= rank && n > below {
			share := (rank - float64(below)) / float64(n-below)
			return low + time.Duration(share*float64(high-low))
		} else {
			low, below = high, n
		}
	}
	return low
}
