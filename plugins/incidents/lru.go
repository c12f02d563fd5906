package incidents

import "container/list"

// lru remembers the last max keys that were put or got.
type lru[V any] struct {
	max   int
	order list.List // of *pair[V], newest first
	items map[string]*list.Element
}

type pair[V any] struct {
	key   string
	value V
}

func newLRU[V any](max int) *lru[V] {
	return &lru[V]{max: max, items: map[string]*list.Element{}}
}

func (l *lru[V]) get(key string) (V, bool) {
	if e, ok := l.items[key]; ok {
		l.order.MoveToFront(e)
		return e.Value.(*pair[V]).value, true
	}
	var none V
	return none, false
}

func (l *lru[V]) put(key string, value V) {
	if e, ok := l.items[key]; ok {
		e.Value.(*pair[V]).value = value
		l.order.MoveToFront(e)
		return
	}
	l.items[key] = l.order.PushFront(&pair[V]{key, value})
	if l.order.Len() > l.max {
		last := l.order.Back()
		l.order.Remove(last)
		delete(l.items, last.Value.(*pair[V]).key)
	}
}
