package httpin

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"sync"
	"time"
)

// digest is what a key, or a body, is known by.
type digest [16]byte

// sum is the digest of parts, each with its length before it.
func sum(parts ...string) digest {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	var d digest
	copy(d[:], h.Sum(nil))
	return d
}

func (d digest) String() string { return hex.EncodeToString(d[:]) }

// known is what is remembered of a key.
type known struct {
	body   digest
	at     time.Time     // when it first came: the time of its logs, however often it comes
	stored int           // how many records; -1 until all are stored
	busy   chan struct{} // closed when the request that has it in hand ends; nil where none has
}

// keys remembers the requests that carried a key, so that one that comes again
// gives the same logs, or none where all are stored. It is kept in a journal,
// and so lives on when the process is killed. Safe for concurrent use.
type keys struct {
	most    int
	keep    time.Duration
	journal *journal

	mu    sync.Mutex
	known map[digest]*known
	order []digest // in order of coming; may hold keys that are forgotten
}

// begin takes a key in hand. A repeated request waits here for the one before
// it. Where that was stored, how many records it had is returned, and nothing is
// to be done; else -1, and end must be called.
func (k *keys) begin(ctx context.Context, key, body digest, now time.Time) (at time.Time, stored int, no *refusal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		e := k.known[key]
		if e == nil {
			break
		}
		if e.body != body {
			return at, 0, refuse(http.StatusUnprocessableEntity, "this Idempotency-Key came before with another body: a key is for one request and its repetitions")
		}
		if e.busy == nil {
			if e.stored >= 0 {
				return e.at, e.stored, nil
			}
			e.busy = make(chan struct{})
			return e.at, -1, nil
		}
		busy := e.busy
		k.mu.Unlock()
		select {
		case <-busy:
			k.mu.Lock()
		case <-ctx.Done():
			k.mu.Lock()
			return at, 0, again(http.StatusConflict, "a request with this Idempotency-Key is still being stored")
		}
	}
	if err := k.journal.begun(key, body, now); err != nil {
		return at, 0, again(http.StatusServiceUnavailable, "the key cannot be written down")
	}
	k.add(key, &known{body: body, at: now, stored: -1, busy: make(chan struct{})})
	k.forget(now)
	k.tidy()
	return now, -1, nil
}

// end lets a key go. stored is how many records were stored, -1 if not all were.
func (k *keys) end(key digest, stored int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.known[key]
	if e == nil || e.busy == nil {
		return
	}
	close(e.busy)
	e.busy = nil
	if stored >= 0 {
		e.stored = stored
		k.journal.stored(key, stored)
	}
}

func (k *keys) add(key digest, e *known) {
	k.known[key] = e
	k.order = append(k.order, key)
}

// forget lets go of the oldest keys, as many as are too many or too old. One
// that is in hand is kept.
func (k *keys) forget(now time.Time) {
	for len(k.order) > 0 {
		e := k.known[k.order[0]]
		if e != nil && (e.busy != nil || len(k.known) <= k.most && now.Sub(e.at) < k.keep) {
			return
		}
		delete(k.known, k.order[0])
		k.order = k.order[1:]
	}
}

// tidy writes the journal anew once most of it is about keys that are forgotten.
func (k *keys) tidy() {
	if k.journal.lines > 4*k.most {
		if err := k.journal.rewrite(k); err != nil {
			k.journal.lines = 0 // not with each request
			k.journal.log.Error("cannot write the journal of keys anew", "error", err)
		}
	}
}
