package offline

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/sync/semaphore"
)

const (
	// maxLine is the most bytes of one line; a longer one is undecodable.
	maxLine = 32 << 20
	// maxHeld is the most bytes of lines that were read and not written yet. A
	// batch has no more: only a line that is read alone can be long.
	maxHeld = maxLine
	// maxBatch lines that have come already go through one worker together.
	maxBatch = 16
	// window is the most batches that were read and not written yet.
	window = 256
	// grace is how long the logs that were read may go on once ctx has ended.
	grace = 1500 * time.Millisecond
)

// Stream puts the logs of inputs, a line each, through a Runner: side by side,
// with the events in the order of the logs.
type Stream struct {
	Runner *Runner
	// Decode makes a log of a line; nil is the package's Decode.
	Decode func(line []byte) (log *pb.Log, unknown []string, err error)
	// Dead gets the lines that become no event, as JSON, one a line; nil: they
	// are only counted. It is used by one goroutine at a time.
	Dead io.Writer
	// Unknown is called, in order, for each line with keys that a Log does not
	// have; nil: they are only counted.
	Unknown func(line int, keys []string)

	limit int // of a line; maxLine if 0
}

// Run reads in to its end and writes an event a line to out; what is ready is
// written as soon as nothing more can follow at once. When ctx ends it stops
// reading, finishes what it holds, as far as that takes no longer than a moment,
// and returns ctx's error. Any other error is one of reading or writing. It may
// leave a goroutine behind that waits for in, if that cannot be interrupted.
func (s *Stream) Run(ctx context.Context, in io.Reader, out io.Writer) (Summary, error) {
	f := &flow{
		Stream: s, lines: newLines(in, s.limit), out: bufio.NewWriterSize(out, 64<<10),
		room:    semaphore.NewWeighted(maxHeld),
		pending: make(chan *batch, window), jobs: make(chan *batch, window+2), quit: make(chan struct{}),
	}
	if s.limit == 0 {
		f.lines.limit = maxLine
	}
	if f.decode = s.Decode; f.decode == nil {
		f.decode = Decode
	}
	workers := runtime.GOMAXPROCS(0)
	if f.batch = maxBatch; len(s.Runner.lines.Plugins()) > 0 {
		// What waits for a plugin needs no core.
		f.batch, workers = 1, max(workers, min(s.Runner.opts.Settings.Plugins.InFlight, 64))
	}
	start := time.Now()
	err := f.run(ctx, in, workers)
	f.summary.since(start)
	f.summary.Missed = s.Runner.Missed()
	return f.summary, err
}

// flow is one call of Run.
type flow struct {
	*Stream
	lines  *lines
	decode func([]byte) (*pb.Log, []string, error)
	batch  int
	out    *bufio.Writer
	room   *semaphore.Weighted

	pending chan *batch // in order, for the writer
	jobs    chan *batch // the same, for the workers; it has room for all that pending may hold
	quit    chan struct{}

	readErr error // once pending is closed
	summary Summary
}

func (f *flow) run(ctx context.Context, in io.Reader, workers int) error {
	reading, stop := context.WithCancel(ctx)
	working, abandon := context.WithCancel(context.WithoutCancel(ctx))
	var team sync.WaitGroup
	defer func() {
		stop()
		close(f.quit)
		abandon()
		team.Wait()
	}()
	late := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, abandon)
		context.AfterFunc(working, func() { timer.Stop() })
	})
	defer late()
	// A read that waits for input is ended, where the input can do that.
	if d, ok := in.(interface{ SetReadDeadline(time.Time) error }); ok {
		interrupt := context.AfterFunc(reading, func() { _ = d.SetReadDeadline(time.Unix(1, 0)) })
		defer interrupt()
	}
	for range workers {
		team.Go(func() { f.work(working) })
	}
	go f.read(reading)

	err := f.write(reading)
	if err != nil {
		stop() // and with it a read that waits
	}
	if flush := f.out.Flush(); err == nil && flush != nil {
		err = fmt.Errorf("write events: %w", flush)
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return err
}

// work does batches until there are no more.
func (f *flow) work(ctx context.Context) {
	for {
		select {
		case b, more := <-f.jobs:
			if !more {
				return
			}
			for i := range b.logs {
				f.do(ctx, &b.logs[i])
			}
			close(b.done)
		case <-f.quit:
			return
		}
	}
}

// write writes what batches gave, in their order, until there are no more or ctx
// has ended and all that was read is done.
func (f *flow) write(ctx context.Context) error {
	for {
		var b *batch
		var more bool
		select {
		case b, more = <-f.pending:
		default:
			// Nothing more for the moment: whoever reads gets what there is.
			if err := f.out.Flush(); err != nil {
				return fmt.Errorf("write events: %w", err)
			}
			select {
			case b, more = <-f.pending:
			case <-ctx.Done():
				return nil
			}
		}
		if !more {
			if ctx.Err() != nil {
				return nil // it is why reading failed
			}
			return f.readErr
		}
		if err := f.settle(ctx, b); err != nil {
			return err
		}
	}
}

// settle waits for a batch and writes it.
func (f *flow) settle(ctx context.Context, b *batch) error {
	if b.long != nil {
		return f.settleLong(ctx, b)
	}
	select {
	case <-b.done:
	default:
		if err := f.out.Flush(); err != nil {
			return fmt.Errorf("write events: %w", err)
		}
		<-b.done
	}
	for i := range b.logs {
		o := &b.logs[i]
		f.summary.add(o)
		if len(o.unknownKeys) > 0 && f.Unknown != nil {
			f.Unknown(o.number, o.unknownKeys)
		}
		switch {
		case o.unfinished:
		case o.dead != "":
			if err := bury(f.Dead, o.number, o.line, o.dead); err != nil {
				return err
			}
		case !o.dropped:
			f.out.Write(o.event)
			if err := f.out.WriteByte('\n'); err != nil {
				return fmt.Errorf("write events: %w", err)
			}
		}
	}
	f.room.Release(b.held)
	return nil
}

// settleLong lets the reader, who has the rest of the line, keep it in its place.
func (f *flow) settleLong(ctx context.Context, b *batch) error {
	if err := f.out.Flush(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	f.summary.add(&outcome{dead: tooLong(f.lines.limit)})
	close(b.long)
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return nil
	}
}
