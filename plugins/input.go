package plugins

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
)

// Input sends logs to the node and keeps each until the node has stored it: a
// lost connection, a restarted node or a full stream delays, and loses nothing.
// After a broken connection what was not acked is sent again, with the same id,
// by which the node knows it. All methods may be called by many goroutines.
type Input struct{ s *sender[*Log] }

// NewInput makes a client of WORK_DIR/sockets/engine_server.sock. The node need
// not be there yet. Close it.
func NewInput(opts SenderOptions) (*Input, error) {
	s, err := newSender(opts, func(ctx context.Context, conn grpc.ClientConnInterface) (stream[*Log], error) {
		return pb.NewEngineClient(conn).Input(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &Input{s}, nil
}

// Send takes a log on its way and returns; it waits while the window is full,
// which is how a slow node is felt. A missing id and timestamp are set. The log
// must not be changed afterwards.
//
// An error other than ctx's and ErrClosed says that this log can never be sent:
// a field is not UTF-8 (see strings.ToValidUTF8), raw is empty, or it is too
// large for one message.
func (in *Input) Send(ctx context.Context, log *Log) error { return in.SendFunc(ctx, log, nil) }

// SendFunc is Send with a function that is called when the node has stored the
// log. The functions of one Input are called one after the other, in the order
// of sending; they must return soon and not call the Input.
func (in *Input) SendFunc(ctx context.Context, log *Log, stored func()) error {
	if err := prepareLog(log); err != nil {
		return fmt.Errorf("send log: %w", err)
	}
	if err := in.s.send(ctx, log, stored); err != nil {
		return fmt.Errorf("send log: %w", err)
	}
	return nil
}

// Store sends logs and returns once the node has stored all of them. Where it
// fails, some may be stored: sent again with the same ids, they are the same
// logs to the node. It waits for these logs alone, however many others are on
// their way.
func (in *Input) Store(ctx context.Context, logs ...*Log) error {
	for i, log := range logs {
		if err := prepareLog(log); err != nil {
			return fmt.Errorf("store log %d of %d: %w", i+1, len(logs), err)
		}
	}
	if err := in.s.store(ctx, logs...); err != nil {
		return fmt.Errorf("store logs: %w", err)
	}
	return nil
}

// Waiting is how many logs are on their way: sent, and not stored by the node
// as far as is known.
func (in *Input) Waiting() int { return in.s.waiting() }

// Connected reports whether there is a connection to the node now; without one,
// logs wait.
func (in *Input) Connected() bool { return in.s.streaming.Load() }

// Flush waits until everything sent before is stored, or ctx ends.
func (in *Input) Flush(ctx context.Context) error { return in.s.flush(ctx) }

// Close takes no more logs, waits like Flush, and closes the connection. An
// error says how many logs the node has not stored as far as is known.
func (in *Input) Close(ctx context.Context) error { return in.s.close(ctx) }

func prepareLog(log *Log) error {
	switch {
	case log == nil:
		return errors.New("nil log")
	case log.Raw == "":
		return errors.New("raw is empty")
	case !utf8.ValidString(log.Raw):
		return errors.New("raw is not UTF-8: use strings.ToValidUTF8")
	}
	for name, text := range map[string]string{
		"id": log.Id, "dataType": log.DataType, "dataSource": log.DataSource,
		"@timestamp": log.Timestamp, "tenantId": log.TenantId,
	} {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%s is not UTF-8: use strings.ToValidUTF8", name)
		}
	}
	if log.Id == "" {
		log.Id = newID()
	}
	if log.Timestamp == "" {
		log.Timestamp = time.Now().UTC().Format(time.RFC3339Nano)
	}
	return nil
}

// absolute makes a path absolute, which a unix:// target has to be.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return strings.ReplaceAll(path, "%", "%25")
}
