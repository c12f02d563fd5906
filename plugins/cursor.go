package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// ErrSuperseded is what a Cursor returns once this process's time is over:
// another has taken over, or is about to. What it wrote stays. The process ends.
var ErrSuperseded = errors.New("superseded: another process has taken over")

// Cursor is how far a singleton has come: a few small values by name, which the
// node keeps for whichever process of the plugin runs next, on whatever node.
// Its methods are safe for concurrent use.
type Cursor struct {
	client http.Client
	epoch  uint64
	lease  string
}

// OpenCursor opens the cursors of this process, which the node has started as a
// singleton. It is an error where it has not: list the plugin under
// mesh.singletons.
func OpenCursor() (*Cursor, error) {
	socket, lease := os.Getenv("EPMESH_CURSOR"), os.Getenv("EPMESH_LEASE")
	epoch, err := strconv.ParseUint(os.Getenv("EPMESH_EPOCH"), 10, 64)
	if socket == "" || lease == "" || err != nil {
		return nil, errors.New("open cursor: this process was not started as a singleton: list the plugin under mesh.singletons")
	}
	c := &Cursor{epoch: epoch, lease: lease}
	c.client.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}
	return c, nil
}

// Epoch is the fencing token: greater than that of any process before. A
// receiver that is told it with each write can refuse those of a process that
// was superseded and does not know it yet.
func (c *Cursor) Epoch() uint64 { return c.epoch }

// Lease is the name that this process holds.
func (c *Cursor) Lease() string { return c.lease }

// Get is the value of that name, nil where there is none.
func (c *Cursor) Get(ctx context.Context, name string) ([]byte, error) {
	value, err := c.do(ctx, http.MethodGet, name, nil)
	if err != nil {
		return nil, fmt.Errorf("read cursor %s: %w", name, err)
	}
	return value, nil
}

// Put sets a value, and returns once that is stored for all nodes: what comes
// before it has been sent and acked before. ErrSuperseded says that another
// process has taken over; after another error it may have been stored or not.
// All values together may have 128 KiB.
func (c *Cursor) Put(ctx context.Context, name string, value []byte) error {
	method := http.MethodPut
	if len(value) == 0 {
		method = http.MethodDelete
	}
	if _, err := c.do(ctx, method, name, value); err != nil {
		return fmt.Errorf("write cursor %s: %w", name, err)
	}
	return nil
}

func (c *Cursor) do(ctx context.Context, method, name string, value []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://node/"+url.PathEscape(name), bytes.NewReader(value))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Epmesh-Epoch", strconv.FormatUint(c.epoch, 10))
	answer, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case answer.StatusCode == http.StatusConflict:
		return nil, ErrSuperseded
	case err != nil:
		return nil, err
	case answer.StatusCode == http.StatusNotFound:
		return nil, nil
	case answer.StatusCode >= 300:
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return text, nil
}
