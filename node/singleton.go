package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/plugin"
)

const (
	// singletonLead is how long before the lease may be lost a singleton is told
	// to end.
	singletonLead = 2 * time.Second
	// cursorWait is how long an answer of the cursor store may take.
	cursorWait = 10 * time.Second
	// maxCursorBody bounds one value that is sent; the store bounds all of them.
	maxCursorBody = 256 << 10
)

// SingletonLease is the name of the lease under which a plugin runs once in the
// mesh.
func SingletonLease(name string) string { return "singleton." + name }

// CursorSocket is where a singleton finds its cursors.
func CursorSocket(dir, name string) string {
	return filepath.Join(dir, "run", "cursor-"+name+".sock")
}

// tenure waits until a singleton may run on this node.
func (n *Node) tenure(ctx context.Context, name string) (*plugin.Tenure, error) {
	lease, err := n.leases.Acquire(ctx, SingletonLease(name))
	if err != nil {
		return nil, err
	}
	stop, err := n.serveCursor(name, lease)
	if err != nil {
		lease.Release(ctx)
		return nil, err
	}
	n.log.Info("singleton runs on this node", "plugin", name, "epoch", lease.Epoch())
	ending, cancel := lease.Before(singletonLead)
	return &plugin.Tenure{
		Env: []string{
			"EPMESH_LEASE=" + lease.Name(), "EPMESH_EPOCH=" + strconv.FormatUint(lease.Epoch(), 10),
			"EPMESH_CURSOR=" + CursorSocket(n.settings.Dir, name),
		},
		Ending: ending, Until: lease.Until,
		Release: func() { cancel(); stop(); lease.Release(ctx) },
	}, nil
}

// serveCursor takes the singleton's cursors over and serves them on a socket.
func (n *Node) serveCursor(name string, lease *bridge.Lease) (stop func(), err error) {
	bound, cancel := context.WithTimeout(lease.Context(), cursorWait)
	defer cancel()
	cursor, err := n.bridge.Cursor(bound, name, lease.Epoch())
	if err != nil {
		return nil, err
	}
	path := CursorSocket(n.settings.Dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cursor socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("cursor socket: %w", err)
	}
	srv := &http.Server{Handler: cursorHandler(cursor, lease), ReadHeaderTimeout: cursorWait}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("cursor socket", "plugin", name, "error", err)
		}
	}()
	return func() { _ = srv.Close(); <-done }, nil
}

// epochHeader tells which tenure a request is of.
const epochHeader = "Epmesh-Epoch"

// cursorHandler serves one singleton's cursors, one a path: GET, PUT, DELETE. A
// request of another epoch is 409, as is one that comes too late.
func cursorHandler(cursor *bridge.Cursor, lease *bridge.Lease) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.URL.Path
		if epoch := r.Header.Get(epochHeader); epoch != strconv.FormatUint(lease.Epoch(), 10) || !lease.Valid() {
			http.Error(w, fmt.Sprintf("superseded: this is not, or not any more, the time of epoch %q", epoch), http.StatusConflict)
			return
		}
		var value []byte
		switch r.Method {
		case http.MethodGet:
			if value = cursor.Get(key); value == nil {
				http.Error(w, "no cursor of that name", http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write(value)
			return
		case http.MethodPut:
			var err error
			if value, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxCursorBody)); err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
				return
			}
		case http.MethodDelete:
		default:
			http.Error(w, "GET, PUT or DELETE", http.StatusMethodNotAllowed)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), cursorWait)
		defer cancel()
		switch err := cursor.Put(ctx, key, value); {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.Is(err, bridge.ErrSuperseded):
			http.Error(w, err.Error(), http.StatusConflict)
		case errors.Is(err, bridge.ErrCursorSize):
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		default:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
}
