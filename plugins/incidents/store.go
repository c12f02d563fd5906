package incidents

import (
	"context"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
)

// store is where state lies: bridge.State has the contract.
type store interface {
	Get(ctx context.Context, key string) (bridge.StateEntry, error)
	Put(ctx context.Context, key string, value []byte, revision uint64, keep time.Duration) (uint64, error)
}

// memoryKeys bounds what a memory store holds; the keys that were used longest
// ago are forgotten.
const memoryKeys = 100_000

// memory is a store of this process.
type memory struct {
	mu   sync.Mutex
	last uint64
	keys *lru[bridge.StateEntry]
}

func newMemory() *memory { return &memory{keys: newLRU[bridge.StateEntry](memoryKeys)} }

func (m *memory) Get(_ context.Context, key string) (bridge.StateEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, _ := m.keys.get(key)
	return e, nil
}

func (m *memory) Put(_ context.Context, key string, value []byte, revision uint64, _ time.Duration) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, _ := m.keys.get(key); e.Revision != revision {
		return 0, bridge.ErrConflict
	}
	m.last++
	m.keys.put(key, bridge.StateEntry{Value: value, Revision: m.last})
	return m.last, nil
}
