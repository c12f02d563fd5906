package plugin

import "sync"

// notifier lets any number of goroutines wait for the next change.
type notifier struct {
	mu   sync.Mutex
	next chan struct{}
}

// wait gives a channel that the next notify closes.
func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}
