package telemetry

import (
	"math"
	"sync"
	"testing"
	"time"
	"unsafe"
)

func TestBuckets(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want int
	}{
		{-1, 0},
		{0, 0},
		{firstBound, 0},
		{firstBound + 1, 1},
		{2 * firstBound, 1},
		{2*firstBound + 1, 2},
		{4 * firstBound, 2},
		{firstBound << (bounds - 1), bounds - 1},
		{firstBound<<(bounds-1) + 1, bounds},
		{math.MaxInt64, bounds},
	} {
		if got := bucket(max(tt.d, 0)); got != tt.want {
			t.Errorf("bucket(%v) = %d, want %d", tt.d, got, tt.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	h := NewHistogram()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 1000 {
				h.Observe(time.Duration(i+1) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	h.ObserveN(-time.Second, 2)
	s := h.Snapshot()
	if s.Count != 4002 || s.Sum != 4*500500*time.Millisecond {
		t.Errorf("count %d, sum %v", s.Count, s.Sum)
	}
	last := uint64(0)
	for j := range bounds {
		n, ok := s.Buckets[(firstBound << j).Seconds()]
		if !ok || n < last {
			t.Errorf("bucket %d: %d after %d", j, n, last)
		}
		last = n
	}
	if last != s.Count || len(s.Buckets) != bounds {
		t.Errorf("the last bucket has %d of %d, and there are %d", last, s.Count, len(s.Buckets))
	}
	if q := s.Quantile(0.5); q < 400*time.Millisecond || q > 600*time.Millisecond {
		t.Errorf("median %v", q)
	}
	if q := NewHistogram().Snapshot().Quantile(0.99); q != 0 {
		t.Errorf("quantile of nothing: %v", q)
	}
	h.ObserveN(time.Hour, 100000)
	if q := h.Snapshot().Quantile(0.99); q != firstBound<<(bounds-1) {
		t.Errorf("quantile above all bounds: %v", q)
	}
}

func TestShardsShareNoCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(shard{}); n%64 != 0 {
		t.Errorf("a shard has %d bytes", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := NewHistogram()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			h.Observe(3 * time.Millisecond)
		}
	})
}
