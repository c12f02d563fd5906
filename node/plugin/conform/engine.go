package conform

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/epmesh/epmesh/proto"
)

const (
	engineSocket = "engine_server.sock"
	// While Acks are held the engine reads on until it has this much that it has
	// not acked; then it stops, as a node's with a full stream.
	heldBytes = 8 << 20
	heldLogs  = 20_000
	// maxMessages bounds the messages that are kept to look at.
	maxMessages = 10_000
)

// engine is a node's engine socket that stores nothing: an Ack says only that
// the log was read. It can hold Acks back, and go away as a killed node does.
// What it keeps of a log is its id and a hash, and that only until the Ack.
type engine struct {
	pb.UnimplementedEngineServer
	path string
	seed maphash.Seed
	look func(*pb.Log) // each log, in the order of its stream; streams come at once
	hear func(*pb.Message)

	mu       sync.Mutex
	server   *grpc.Server
	serving  chan struct{}
	change   chan struct{}
	held     bool
	inputs   int // streams opened
	notifies int
	logs     uint64
	bytes    uint64
	open     map[string]uint64 // sent and not acked: id to hash of raw
	openSize int
	lost     map[string]uint64 // of open, when the engine went away
	resent   int               // of lost, that came again with their id
	remade   int               // ... that came again with another id
	hashes   map[uint64]int    // of lost
	messages []*pb.Message
}

func newEngine(workDir string) *engine {
	return &engine{
		path: filepath.Join(workDir, "sockets", engineSocket), seed: maphash.MakeSeed(),
		look: func(*pb.Log) {}, hear: func(*pb.Message) {},
		change: make(chan struct{}), open: map[string]uint64{}, lost: map[string]uint64{}, hashes: map[uint64]int{},
	}
}

// up opens the socket.
func (e *engine) up() error {
	if err := os.Remove(e.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("engine socket: %w", err)
	}
	l, err := net.Listen("unix", e.path)
	if err != nil {
		return fmt.Errorf("engine socket: %w", err)
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	pb.RegisterEngineServer(s, e)
	serving := make(chan struct{})
	e.mu.Lock()
	e.server, e.serving = s, serving
	e.mu.Unlock()
	go func() {
		defer close(serving)
		// What Serve returns after Stop says nothing.
		_ = s.Serve(l)
	}()
	return nil
}

// down breaks every connection, as the end of a node by SIGKILL would. What was
// not acked counts as lost until it comes again.
func (e *engine) down() {
	e.mu.Lock()
	s, serving := e.server, e.serving
	e.server = nil
	e.mu.Unlock()
	if s == nil {
		return
	}
	s.Stop()
	<-serving
	// After the connections, so that no Ack goes out for what was held.
	e.hold(false, false)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost, e.open = e.open, map[string]uint64{}
	e.openSize, e.resent, e.remade = 0, 0, 0
	clear(e.hashes)
	for _, h := range e.lost {
		e.hashes[h]++
	}
	e.changed()
}

// hold keeps Acks back, or lets them go; then ack says whether what was held is
// acked now.
func (e *engine) hold(held, ack bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = held
	if ack {
		clear(e.open)
		e.openSize = 0
	}
	e.changed()
}

// changed tells those who wait; mu is held.
func (e *engine) changed() {
	close(e.change)
	e.change = make(chan struct{})
}

// await waits until ok holds, which is asked with mu held, or the end of the
// time, or until ended is closed.
func (e *engine) await(d time.Duration, ended <-chan struct{}, ok func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		e.mu.Lock()
		done, change := ok(), e.change
		e.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-change:
		case <-timer.C:
			return false
		case <-ended:
			ended = nil
			// What it sent before it ended may still be on its way.
			timer.Reset(min(d, 200*time.Millisecond))
		}
	}
}

// counts is how much has come so far.
func (e *engine) counts() (logs, bytes uint64, open, openSize int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.logs, e.bytes, len(e.open), e.openSize
}

// Input takes logs and acks them, each or the last of many.
func (e *engine) Input(s grpc.BidiStreamingServer[pb.Log, pb.Ack]) error {
	e.mu.Lock()
	e.inputs++
	e.changed()
	e.mu.Unlock()
	var (
		mu   sync.Mutex
		last string
		some bool
	)
	due := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		for {
			l, err := s.Recv()
			if err != nil {
				ended <- err
				return
			}
			e.take(l)
			mu.Lock()
			last, some = l.GetId(), true
			mu.Unlock()
			select {
			case due <- struct{}{}:
			default:
			}
			if !e.mayRead(s) {
				ended <- s.Context().Err()
				return
			}
		}
	}()
	over := false
	for !over {
		select {
		case <-due:
		case <-ended:
			over = true // what is due is acked all the same
		}
		for {
			e.mu.Lock()
			held, change := e.held, e.change
			e.mu.Unlock()
			if !held {
				break
			}
			select {
			case <-change:
			case <-s.Context().Done():
				return s.Context().Err()
			}
		}
		mu.Lock()
		id, any := last, some
		some = false
		mu.Unlock()
		if !any {
			continue
		}
		if err := s.Send(&pb.Ack{LastId: id}); err != nil {
			return err
		}
	}
	return nil
}

// take notes one log.
func (e *engine) take(l *pb.Log) {
	e.look(l)
	h := maphash.String(e.seed, l.GetRaw())
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs++
	e.bytes += uint64(len(l.GetRaw()))
	if _, ok := e.lost[l.GetId()]; ok {
		e.forget(l.GetId())
		e.resent++
	} else if e.hashes[h] > 0 {
		for id, of := range e.lost {
			if of == h {
				e.forget(id)
				break
			}
		}
		e.remade++
	}
	if e.held {
		e.open[l.GetId()] = h
		e.openSize += len(l.GetRaw())
	}
	e.changed()
}

func (e *engine) forget(id string) {
	h := e.lost[id]
	delete(e.lost, id)
	if e.hashes[h]--; e.hashes[h] <= 0 {
		delete(e.hashes, h)
	}
}

// mayRead waits while enough is held; false if the stream has ended.
func (e *engine) mayRead(s grpc.ServerStream) bool {
	for {
		e.mu.Lock()
		wait, change := e.held && (e.openSize >= heldBytes || len(e.open) >= heldLogs), e.change
		e.mu.Unlock()
		if !wait {
			return true
		}
		select {
		case <-change:
		case <-s.Context().Done():
			return false
		}
	}
}

// Notify takes messages and acks each.
func (e *engine) Notify(s grpc.BidiStreamingServer[pb.Message, pb.Ack]) error {
	e.mu.Lock()
	e.notifies++
	e.changed()
	e.mu.Unlock()
	for {
		m, err := s.Recv()
		if err != nil {
			return nil
		}
		e.hear(m)
		e.mu.Lock()
		if len(e.messages) < maxMessages {
			e.messages = append(e.messages, m)
		}
		e.changed()
		e.mu.Unlock()
		if err := s.Send(&pb.Ack{LastId: m.GetId()}); err != nil {
			return err
		}
	}
}

// messageIDs are the ids of the messages that have come.
func (e *engine) messageIDs() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := make([]string, len(e.messages))
	for i, m := range e.messages {
		ids[i] = m.GetId()
	}
	return ids
}
