package bridge

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Hub is the link of an edge node to its hub. All methods are safe for concurrent
// use.
type Hub struct {
	b  *Bridge
	s  *Server
	nc *nats.Conn
	js jetstream.JetStream

	link  atomic.Pointer[link] // its context has ended while the link is down
	limit atomic.Int64         // bytes that the hub takes in one message

	mu     sync.Mutex
	status HubStatus
	silent bool // the link is up, and nothing is stored
}

// HubStatus is how the link to the hub stands.
type HubStatus struct {
	Up bool `json:"up"`
	// Since is when it went up or down.
	Since time.Time `json:"since"`
	// Server is the hub's server while the link is up.
	Server string `json:"server,omitempty"`
	// Reason is why it is down, or why nothing is stored although it is up.
	Reason string `json:"reason,omitempty"`
	// Losses is how often it went down.
	Losses int64 `json:"losses"`
}

// OpenHub makes the link of a bridge whose embedded server is a leaf. The bridge
// is closed after the hub.
func (b *Bridge) OpenHub() (*Hub, error) {
	s := b.opts.Server
	if s == nil || s.leaf == nil {
		return nil, errors.New("hub: the server of this node is no leaf: give nats.leaf.url")
	}
	h := &Hub{b: b, s: s, status: HubStatus{Since: time.Now()}}
	down := newLink()
	down.cancel()
	h.link.Store(down)
	var err error
	if h.nc, err = s.hubConnect(b.opts.Name, b.log); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	if h.js, err = jetstream.New(h.nc); err != nil {
		h.nc.Close()
		return nil, fmt.Errorf("hub: %w", err)
	}
	return h, nil
}

// Close ends the connection; what forwards has returned before.
func (h *Hub) Close() { h.nc.Close() }

// Status is how the link stands now.
func (h *Hub) Status() HubStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.status
	if !st.Up {
		none := "no connection yet"
		if st.Losses > 0 {
			none = "the connection broke"
		}
		st.Reason = cmp.Or(h.s.leaf.why(), none)
	}
	return st
}

const (
	hubLook = 200 * time.Millisecond
	// hubGrace is how long a link may take before it is said to be missing.
	hubGrace = 3 * time.Second
	// infoWait bounds asking the hub's server what it takes.
	infoWait = 5 * time.Second
)

// Serve watches the link until ctx ends, and says when it is lost and when it is
// back.
func (h *Hub) Serve(ctx context.Context) error {
	tick := time.NewTicker(hubLook)
	defer tick.Stop()
	began, told := time.Now(), false
	id := uint64(0)
	for {
		link, ok := h.s.hubLink()
		switch {
		case ok && link.ID != id:
			id = link.ID
			h.limit.Store(int64(h.b.maxPayload))
			if n, err := hubTakes(ctx, net.JoinHostPort(link.IP, fmt.Sprint(link.Port))); err != nil {
				h.b.log.Debug("cannot ask what the hub takes", "error", err)
			} else if n > 0 {
				h.limit.Store(min(n, int64(h.b.maxPayload)))
			}
			if now, there := h.s.hubLink(); !there || now.ID != id {
				break // it went while we asked, as one does whom the hub refuses
			}
			told = false
			h.up(link.Name)
		case !ok && h.Status().Up:
			id = 0
			h.down()
			fallthrough
		case !ok && !told && time.Since(began) > hubGrace:
			told = true
			h.b.log.Warn("the link to the hub is down; what is stored waits here", "reason", h.Status().Reason)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (h *Hub) up(server string) {
	h.s.leaf.forget()
	h.mu.Lock()
	was := h.status.Up
	h.status.Up, h.status.Server, h.status.Reason = true, server, ""
	if !was {
		h.status.Since = time.Now()
	}
	h.silent = false
	h.mu.Unlock()
	if was {
		h.link.Load().cancel() // answers do not come by another connection
	}
	close(h.link.Swap(newLink()).again)
	if !was {
		h.b.log.Info("the link to the hub is up", "hub", server)
	}
}

func (h *Hub) down() {
	h.link.Load().cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = HubStatus{Since: time.Now(), Losses: h.status.Losses + 1}
}

// stored says that the hub stores, and failed that it does not although the link
// is up. Each is told once.
func (h *Hub) stored() {
	h.mu.Lock()
	was := h.silent
	if was {
		h.silent, h.status.Reason = false, ""
	}
	h.mu.Unlock()
	if was {
		h.b.log.Info("the hub stores again")
	}
}

func (h *Hub) failed(err error) {
	h.mu.Lock()
	told := h.silent || !h.status.Up
	if h.status.Up {
		h.silent, h.status.Reason = true, err.Error()
	}
	h.mu.Unlock()
	if !told {
		h.b.log.Warn("the hub does not store what is forwarded, trying again until it does", "error", err)
	}
}

// hubTakes asks the server at address for the largest message that it takes. A
// larger one would make it end the link.
func hubTakes(ctx context.Context, address string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, infoWait)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(infoWait))
	line, err := bufio.NewReader(io.LimitReader(c, 64<<10)).ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	info, ok := bytes.CutPrefix(line, []byte("INFO "))
	if !ok {
		return 0, errors.New("no NATS server")
	}
	var said struct {
		MaxPayload int64 `json:"max_payload"`
	}
	if err := json.Unmarshal(info, &said); err != nil {
		return 0, err
	}
	return said.MaxPayload, nil
}
