package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// batch is some lines that follow each other, or one that is too long.
type batch struct {
	logs []outcome
	held int64         // bytes
	done chan struct{} // closed once the logs are done, or the long line is

	long chan struct{} // closed when it is the long line's turn; nil for others
	err  error         // of keeping it, once done
}

// outcome is a line and what became of it.
type outcome struct {
	number int
	line   []byte

	event          []byte // as JSON
	errors         int    // on the event
	dropped        bool
	dead           string // why there is no event
	noLog          bool   // but something else
	unfinished     bool
	vanished       int
	vanishedFields []string
	unknownKeys    []string
	unlisted       string // the data type, where no pipeline lists it
	tooLarge       bool
}

// read makes batches of the lines until the input or ctx ends.
func (f *flow) read(ctx context.Context) {
	defer close(f.pending)
	defer close(f.jobs)
	for ctx.Err() == nil {
		b, err := f.next(ctx)
		if b != nil && !f.submit(ctx, b) {
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				f.readErr = fmt.Errorf("read logs: %w", err)
			}
			return
		}
	}
}

// next is the next batch, and what ended the input behind it.
func (f *flow) next(ctx context.Context) (*batch, error) {
	b := &batch{done: make(chan struct{})}
	for len(b.logs) == 0 || len(b.logs) < f.batch && b.held < 64<<10 && f.lines.ready() {
		line, long, err := f.lines.next(nil)
		switch {
		case err != nil:
			return b.orNil(), err
		case long:
			if len(b.logs) > 0 && !f.submit(ctx, b) {
				return nil, ctx.Err()
			}
			return nil, f.long(ctx, line)
		case len(bytes.TrimSpace(line)) == 0:
			if len(b.logs) == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
		default:
			b.logs = append(b.logs, outcome{number: f.lines.n, line: line})
			b.held += int64(len(line))
		}
	}
	return b, nil
}

func (b *batch) orNil() *batch {
	if len(b.logs) == 0 {
		return nil
	}
	return b
}

// submit hands a batch on once there is room for it; false if ctx has ended.
func (f *flow) submit(ctx context.Context, b *batch) bool {
	if f.room.Acquire(ctx, b.held) != nil {
		return false
	}
	// A worker must have it before the writer waits for it.
	f.jobs <- b
	select {
	case f.pending <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// long keeps a line that is too long, when all before it is written.
func (f *flow) long(ctx context.Context, begun []byte) error {
	b := &batch{done: make(chan struct{}), long: make(chan struct{})}
	defer close(b.done)
	number := f.lines.n
	select {
	case f.pending <- b:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-b.long:
	case <-ctx.Done():
		return ctx.Err()
	}
	kept, err := newBurial(f.Dead, number, f.lines.limit)
	if err == nil {
		var keeping error
		err = f.lines.rest(begun, func(piece []byte) error {
			keeping = errors.Join(keeping, kept.write(piece))
			return keeping
		})
		if keeping != nil {
			b.err = keeping
			return io.EOF
		}
		if err != nil {
			return err
		}
		err = kept.end()
	}
	if b.err = err; err != nil {
		return io.EOF // the writer has the error
	}
	return nil
}

// do makes an event of one line.
func (f *flow) do(ctx context.Context, o *outcome) {
	log, unknown, err := f.decode(o.line)
	if err != nil {
		o.dead, o.noLog = err.Error(), errors.Is(err, ErrNoLog)
		return
	}
	o.unknownKeys = unknown
	o.tooLarge = tooLarge(log, int(f.Runner.opts.Settings.Input.MaxLog))
	result, err := f.Runner.Run(ctx, log)
	if !f.Runner.listed[log.GetDataType()] {
		o.unlisted = log.GetDataType()
	}
	switch {
	case err != nil && ctx.Err() != nil:
		o.unfinished = true
		return
	case err != nil:
		o.dead = err.Error()
		return
	case result.Dropped:
		o.dropped = true
		return
	}
	if o.event, err = EventJSON(result.Event); err != nil {
		o.dead = err.Error()
		return
	}
	o.errors, o.vanished, o.vanishedFields = result.Errors, result.Unknown, result.UnknownFields
	if len(o.line) > 1<<20 {
		o.line = nil // its event is there
	}
}

// EventJSON is an event in wire form as protobuf-JSON on one line.
func EventJSON(event []byte) ([]byte, error) {
	var e pb.Event
	if err := proto.Unmarshal(event, &e); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	return wire.JSON(&e)
}

// tooLarge reports whether a node refuses a log for its size.
func tooLarge(log *pb.Log, limit int) bool {
	return limit > 0 && len(log.GetRaw())+256 > limit && proto.Size(log) > limit
}
