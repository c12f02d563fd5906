package node

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
)

// lagEvery is how old an answer of the server may be that is given again: those
// who ask at once are answered with one look.
const lagEvery = 2 * time.Second

// lags keeps how far consumers are behind, as the server last said.
type lags struct {
	mu    sync.Mutex
	at    time.Time
	known lagByName
}

type lagByName map[string]bridge.Lag

// of is the lag of a worker's consumer, with that of its items that were handed
// on by key or by what they demand of a node.
func (l lagByName) of(w *worker) (lag bridge.Lag) {
	for name, g := range l {
		if bridge.WaitsFor(name) == w.String() {
			lag = lag.Plus(g)
		}
	}
	return lag
}

// behind are the consumers with something not done, by name.
func (l lagByName) behind() (list []BehindStatus) {
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if g := l[name]; g.Messages > 0 {
			list = append(list, BehindStatus{Consumer: name, Messages: g.Messages, Items: math.Round(g.Items), Oldest: g.Oldest})
		}
	}
	return list
}

// behind asks the server what each consumer has before it, by its name, and how far
// it is behind. Where it does not answer there is none.
func (n *Node) behind() (pending map[string]int64, lag lagByName) {
	lag, asked := n.lag()
	if !asked {
		return n.pending(), lag
	}
	pending = map[string]int64{}
	for name, l := range lag {
		// What was handed on waits for the same plugin.
		pending[bridge.WaitsFor(name)] += int64(l.Pending)
	}
	return pending, lag
}

// lag is how far each consumer is behind, and whether the server was asked now.
func (n *Node) lag() (lag lagByName, asked bool) {
	n.lags.mu.Lock()
	defer n.lags.mu.Unlock()
	if time.Since(n.lags.at) < lagEvery {
		return n.lags.known, false
	}
	if !n.bridge.Connected() {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), pendingTimeout)
	defer cancel()
	known, err := n.bridge.Lags(ctx)
	if err != nil {
		n.log.Debug("cannot ask how far consumers are behind", "error", err)
		return nil, false
	}
	n.lags.known, n.lags.at = known, time.Now()
	return known, true
}

// lagSeconds is how long the oldest has waited; clocks of two machines may
// differ, and nothing waits since the future.
func lagSeconds(l bridge.Lag) float64 {
	if l.Oldest.IsZero() {
		return 0
	}
	return max(time.Since(l.Oldest).Seconds(), 0)
}
