package engine

import (
	"github.com/epmesh/epmesh/bridge"
)

// Bounds of one batch, so that a long queue is acked little by little.
const (
	batchItems = 1024
	batchBytes = 4 << 20
)

// overhead is what one log costs beside its bytes.
const overhead = 256

// batch is what goes out together.
type batch struct {
	items   []bridge.Item
	refused []Refused
	reasons []reason // of refused
	lastID  []byte   // of what came last
	weight  int64
	done    bool
}

func (b *batch) add(e entry, weight int64) {
	if e.reason == taken {
		b.items = append(b.items, e.item)
	} else {
		b.refused = append(b.refused, Refused{
			ID: e.item.ID, Received: e.item.Received, Subject: e.item.Subject, Reason: e.text, Body: e.item.Body,
		})
		b.reasons = append(b.reasons, e.reason)
	}
	b.lastID = e.ackID
	b.weight += weight
}

func (b *batch) len() int   { return len(b.items) + len(b.refused) }
func (b *batch) full() bool { return b.len() >= batchItems || b.weight >= batchBytes }
