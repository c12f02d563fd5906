package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// memoryLeases is a store whose network loses, delays and cuts.
type memoryLeases struct {
	flying sync.WaitGroup // what was sent

	mu       sync.Mutex
	rand     *rand.Rand
	revision uint64
	keys     map[string]memoryKey
	watchers map[*memoryLink]func(key string, value []byte, revision uint64)
}

type memoryKey struct {
	value    []byte
	revision uint64
}

// memoryLink is one node's way to the store.
type memoryLink struct {
	*memoryLeases
	worst time.Duration // of one way
	loss  float64       // of one way
	cut   bool
}

var errLost = errors.New("no answer")

// way is one way over the link; an error where nothing arrives.
func (m *memoryLink) way(ctx context.Context) error {
	m.mu.Lock()
	delay := 1 + time.Duration(m.rand.Int64N(int64(m.worst)+1))
	lost := m.cut || m.rand.Float64() < m.loss
	m.mu.Unlock()
	if lost {
		<-ctx.Done()
		return errLost
	}
	return sleep(ctx, delay)
}

func (m *memoryLink) put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	type answer struct {
		revision uint64
		err      error
	}
	got := make(chan answer, 1)
	m.flying.Go(func() {
		// What was sent arrives, whether or not anybody waits for it.
		far, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if m.way(far) != nil {
			return
		}
		m.mu.Lock()
		var a answer
		if m.keys[key].revision != revision {
			a.err = ErrConflict
		} else {
			m.revision++
			m.keys[key] = memoryKey{value, m.revision}
			a.revision = m.revision
			for link, seen := range m.watchers {
				if !link.cut {
					seen(key, value, m.revision)
				}
			}
		}
		m.mu.Unlock()
		if m.way(far) == nil {
			got <- a
		}
	})
	select {
	case a := <-got:
		return a.revision, a.err
	case <-ctx.Done():
		return 0, errLost
	}
}

func (m *memoryLink) get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := m.way(ctx); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	k := m.keys[key]
	m.mu.Unlock()
	if err := m.way(ctx); err != nil {
		return nil, 0, err
	}
	return k.value, k.revision, nil
}

// watch gives what happens late; what happens while it is cut is not seen at all.
func (m *memoryLink) watch(ctx context.Context, seen func(string, []byte, uint64), loaded func()) error {
	if err := m.way(ctx); err != nil {
		return err
	}
	type change struct {
		key string
		memoryKey
	}
	queue := make(chan change, 1<<16)
	m.mu.Lock()
	for key, k := range m.keys {
		queue <- change{key, k}
	}
	queue <- change{} // loaded
	m.watchers[m] = func(key string, value []byte, revision uint64) {
		queue <- change{key, memoryKey{value, revision}}
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watchers, m)
		m.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-queue:
			m.mu.Lock()
			delay := 1 + time.Duration(m.rand.Int64N(int64(m.worst)+1))/8
			m.mu.Unlock()
			if sleep(ctx, delay) != nil {
				return ctx.Err()
			}
			if c.key == "" {
				loaded()
			} else {
				seen(c.key, c.value, c.revision)
			}
		}
	}
}

// leaseRecord is what holders say of themselves, checked as they say it.
type leaseRecord struct {
	t *testing.T

	mu     sync.Mutex
	last   map[string]*Lease
	all    map[string][]*Lease
	epoch  map[string]uint64
	number int
}

func (r *leaseRecord) took(lease *Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, before := range r.all[lease.Name()] {
		if before.Valid() {
			r.t.Errorf("%s: epoch %d begins while epoch %d believes that it holds", lease.Name(), lease.Epoch(), before.Epoch())
		}
	}
	r.all[lease.Name()] = append(r.all[lease.Name()], lease)
	if lease.Epoch() <= r.epoch[lease.Name()] {
		r.t.Errorf("%s: epoch %d after epoch %d", lease.Name(), lease.Epoch(), r.epoch[lease.Name()])
	}
	r.last[lease.Name()], r.epoch[lease.Name()] = lease, lease.Epoch()
	r.number++
}

// In whatever way messages are lost, late and cut off, no two nodes believe at
// one time that they hold a name, and epochs grow. When the network is well
// again, every name is held.
func TestLeaseModel(t *testing.T) {
	rounds := 16
	if testing.Short() {
		rounds = 4
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { leaseModel(t, seed) })
		})
	}
}

func leaseModel(t *testing.T, seed uint64) {
	const nodes, names = 4, 3
	store := &memoryLeases{
		rand: rand.New(rand.NewPCG(seed, 1)), keys: map[string]memoryKey{},
		watchers: map[*memoryLink]func(string, []byte, uint64){},
	}
	random := rand.New(rand.NewPCG(seed, 2))
	record := &leaseRecord{t: t, last: map[string]*Lease{}, all: map[string][]*Lease{}, epoch: map[string]uint64{}}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer store.flying.Wait()
	defer all.Wait()
	defer cancel()
	var links []*memoryLink
	var ends []context.CancelFunc
	start := func(i int) {
		life, end := context.WithCancel(ctx)
		link := &memoryLink{memoryLeases: store, worst: time.Duration(1+random.Int64N(900)) * time.Millisecond, loss: random.Float64() * 0.3}
		links[i], ends[i] = link, end
		l := newLeases(link, fmt.Sprint("node", i), LeaseOptions{}, hclog.NewNullLogger())
		all.Go(func() { _ = l.Serve(life) })
		for n := range names {
			busy := rand.New(rand.NewPCG(seed, uint64(100+10*i+n)))
			all.Go(func() {
				for {
					lease, err := l.Acquire(life, fmt.Sprint("name", n))
					if err != nil {
						return
					}
					record.took(lease)
					hold, done := context.WithTimeout(lease.Context(), time.Duration(busy.Int64N(int64(40*time.Second))))
					<-hold.Done()
					done()
					if busy.IntN(3) > 0 {
						lease.Release(life)
					} else {
						<-lease.Context().Done() // it is lost, or the node ends
					}
				}
			})
		}
	}
	links, ends = make([]*memoryLink, nodes), make([]context.CancelFunc, nodes)
	for i := range nodes {
		start(i)
	}
	for range 60 {
		time.Sleep(time.Duration(random.Int64N(int64(8 * time.Second))))
		i := random.IntN(nodes)
		store.mu.Lock()
		if link := links[i]; random.IntN(3) > 0 {
			link.cut = !link.cut
		} else {
			link.loss, link.worst = random.Float64()*0.6, time.Duration(1+random.Int64N(2000))*time.Millisecond
		}
		store.mu.Unlock()
		if random.IntN(6) == 0 { // another process takes its place
			ends[i]()
			start(i)
		}
	}
	store.mu.Lock()
	for _, link := range links {
		link.cut, link.loss, link.worst = false, 0, 10*time.Millisecond
	}
	store.mu.Unlock()
	record.mu.Lock()
	before := maps.Clone(record.epoch)
	record.mu.Unlock()
	time.Sleep(3 * time.Minute)
	record.mu.Lock()
	defer record.mu.Unlock()
	for name, lease := range record.last {
		if lease.Epoch() == before[name] && !lease.Valid() {
			t.Errorf("%s is nobody's at the end", name)
		}
	}
	if len(record.last) != names || record.number < 4*names {
		t.Errorf("%d names were taken %d times", len(record.last), record.number)
	}
}

// A node that says nothing loses its lease before another has it, and another
// has it soon after.
func TestLeaseTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memoryLeases{rand: rand.New(rand.NewPCG(1, 1)), keys: map[string]memoryKey{}, watchers: map[*memoryLink]func(string, []byte, uint64){}}
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		defer store.flying.Wait()
		defer all.Wait()
		defer cancel()
		first, second := &memoryLink{memoryLeases: store}, &memoryLink{memoryLeases: store}
		a := newLeases(first, "a", LeaseOptions{}, hclog.NewNullLogger())
		b := newLeases(second, "b", LeaseOptions{}, hclog.NewNullLogger())
		all.Go(func() { _ = a.Serve(ctx) })
		all.Go(func() { _ = b.Serve(ctx) })
		held, err := a.Acquire(ctx, "x")
		if err != nil {
			t.Fatal(err)
		}
		soon, stop := held.Before(2 * time.Second)
		defer stop()
		time.Sleep(time.Hour) // it is renewed
		if !held.Valid() || soon.Err() != nil {
			t.Fatal("lost without a reason")
		}
		store.mu.Lock()
		first.cut = true
		store.mu.Unlock()
		cut := time.Now()
		var warned, lost time.Time
		all.Go(func() { <-soon.Done(); warned = time.Now() })
		all.Go(func() { <-held.Context().Done(); lost = time.Now() })
		next, err := b.Acquire(ctx, "x")
		if err != nil {
			t.Fatal(err)
		}
		took := time.Now()
		synctest.Wait()
		if held.Valid() || !lost.Before(took) || lost.Sub(warned) != 2*time.Second {
			t.Errorf("cut at 0, warned at %s, lost at %s, taken at %s", warned.Sub(cut), lost.Sub(cut), took.Sub(cut))
		}
		if took.Sub(cut) > leaseTTL+leaseTTL/10 {
			t.Errorf("taken after %s", took.Sub(cut))
		}
		next.Release(ctx)
		released := time.Now()
		if _, err := b.Acquire(ctx, "x"); err != nil || time.Since(released) > time.Millisecond {
			t.Errorf("taken again after %s: %v", time.Since(released), err)
		}
	})
}
