package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/epmesh/epmesh/node/offline"
	"github.com/epmesh/epmesh/node/wire"
	"github.com/epmesh/epmesh/plugins/cel"
	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/sync/semaphore"
)

const (
	// maxLine is the most bytes of one line.
	maxLine = 16 << 20
	// maxHeld is the most bytes of lines that were read and are not done.
	maxHeld  = 2 * maxLine
	maxBatch = 64       // lines that go to one decoder together
	maxBytes = 64 << 10 // of them
	window   = 64       // batches that were read and are not done
)

// Stream puts events through an engine.
type Stream struct {
	Engine *cel.Engine
	// Bad is told of each line that is no event; an error of its ends the stream.
	// Nil: they are only counted.
	Bad func(line int, err error) error
	// Line, if set, is given each event first. Where it takes one, the event is
	// not held against the rules besides. An error ends the stream.
	Line func(line int, e *pb.Event) (taken bool, err error)

	limit int // of a line; maxLine if 0
}

// Summary is what became of a stream.
type Summary struct {
	Lines   int `json:"lines"`
	Events  int `json:"events"`
	Bad     int `json:"bad"`
	Unknown int `json:"unknownKeys"` // events with keys that an Event does not have
	Alerts  int `json:"alerts"`
	// Rules are the alerts by name, Unlisted the events of types that no rule
	// lists.
	Rules    map[string]int `json:"rules"`
	Unlisted map[string]int `json:"unlisted,omitempty"`
	First    string         `json:"first,omitempty"` // timestamp
	Last     string         `json:"last,omitempty"`
	Seconds  float64        `json:"seconds"`
}

// Rate is how many events went through in a second.
func (s Summary) Rate() float64 {
	if s.Seconds <= 0 {
		return 0
	}
	return float64(s.Events) / s.Seconds
}

// batch is some lines that follow each other.
type batch struct {
	lines []line
	held  int64
	done  chan struct{} // closed once they are decoded
}

type line struct {
	number  int
	text    []byte
	event   *pb.Event
	unknown bool
	err     error
}

// Run reads in to its end and writes an alert a line to out. When ctx ends it
// stops and gives ctx's error; it may leave a goroutine behind that waits for
// in, if that cannot be interrupted. Memory is bounded whatever comes.
func (s *Stream) Run(ctx context.Context, in io.Reader, out io.Writer) (Summary, error) {
	ctx, stop := context.WithCancel(ctx)
	r := &run{
		Stream: s, reader: offline.NewReader(in, cmp.Or(s.limit, maxLine)), out: bufio.NewWriterSize(out, 64<<10),
		room: semaphore.NewWeighted(maxHeld), pending: make(chan *batch, window), jobs: make(chan *batch, window),
		summary: Summary{Rules: map[string]int{}, Unlisted: map[string]int{}},
	}
	if d, ok := in.(interface{ SetReadDeadline(time.Time) error }); ok {
		interrupt := context.AfterFunc(ctx, func() { _ = d.SetReadDeadline(time.Unix(1, 0)) })
		defer interrupt()
	}
	var team sync.WaitGroup
	defer team.Wait()
	defer stop()
	for range runtime.GOMAXPROCS(0) {
		team.Go(func() { r.decode(ctx) })
	}
	go r.read(ctx)
	start := time.Now()
	err := r.settle(ctx)
	if flush := r.out.Flush(); err == nil && flush != nil {
		err = fmt.Errorf("write alerts: %w", flush)
	}
	r.summary.Seconds = time.Since(start).Seconds()
	return r.summary, err
}

// run is one call of Run.
type run struct {
	*Stream
	reader  *offline.Reader
	out     *bufio.Writer
	room    *semaphore.Weighted
	pending chan *batch // in order
	jobs    chan *batch // the same, for the decoders
	readErr error       // once pending is closed
	types   map[string]bool
	summary Summary
}

// read makes batches of the lines until the input or ctx ends.
func (r *run) read(ctx context.Context) {
	defer close(r.pending)
	defer close(r.jobs)
	for {
		b := &batch{done: make(chan struct{})}
		var err error
		for err == nil && (len(b.lines) == 0 || len(b.lines) < maxBatch && b.held < maxBytes && r.reader.Ready()) {
			var l line
			l.text, l.number, err = r.reader.Next()
			switch {
			case errors.Is(err, offline.ErrLong):
				l.err, err = fmt.Errorf("not an event: the line is longer than %d bytes", cmp.Or(r.limit, maxLine)), nil
			case err != nil:
				continue
			case len(bytes.TrimSpace(l.text)) == 0:
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				continue
			}
			b.lines = append(b.lines, l)
			b.held += int64(len(l.text))
		}
		if len(b.lines) > 0 {
			if r.room.Acquire(ctx, b.held) != nil {
				return
			}
			for _, to := range []chan *batch{r.jobs, r.pending} {
				select {
				case to <- b:
				case <-ctx.Done():
					return
				}
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.readErr = fmt.Errorf("read events: %w", err)
			}
			return
		}
	}
}

func (r *run) decode(ctx context.Context) {
	for {
		select {
		case b, more := <-r.jobs:
			if !more {
				return
			}
			for i := range b.lines {
				if l := &b.lines[i]; l.err == nil {
					l.event, l.unknown, l.err = Decode(l.text)
					l.text = nil
				}
			}
			close(b.done)
		case <-ctx.Done():
			return
		}
	}
}

// settle takes batches in their order.
func (r *run) settle(ctx context.Context) error {
	for {
		var b *batch
		var more bool
		select {
		case b, more = <-r.pending:
		default: // nothing more for the moment: whoever reads gets what there is
			if err := r.out.Flush(); err != nil {
				return fmt.Errorf("write alerts: %w", err)
			}
			select {
			case b, more = <-r.pending:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if !more {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return r.readErr
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		for i := range b.lines {
			if err := r.one(&b.lines[i]); err != nil {
				return err
			}
		}
		r.room.Release(b.held)
	}
}

// one holds the event of one line against the rules.
func (r *run) one(l *line) error {
	s := &r.summary
	s.Lines++
	if l.err != nil {
		if s.Bad++; r.Bad != nil {
			return r.Bad(l.number, l.err)
		}
		return nil
	}
	e := l.event
	l.event = nil
	if l.unknown {
		s.Unknown++
	}
	s.Events++
	if s.Last = e.Timestamp; s.First == "" {
		s.First = e.Timestamp
	}
	if r.types == nil {
		r.types = r.Engine.DataTypes()
	}
	if !r.types[e.DataType] {
		countType(s.Unlisted, e.DataType)
	}
	if r.Line != nil {
		if taken, err := r.Line(l.number, e); taken || err != nil {
			return err
		}
	}
	for _, a := range r.Engine.Analyze(e) {
		s.Alerts++
		s.Rules[a.Name]++
		text, err := wire.JSON(a)
		if err != nil {
			return fmt.Errorf("line %d: alert of rule %q: %w", l.number, a.Name, err)
		}
		r.out.Write(text)
		if err := r.out.WriteByte('\n'); err != nil {
			return fmt.Errorf("write alerts: %w", err)
		}
	}
	return nil
}

// maxTypes bounds the data types that are told apart.
const maxTypes = 1000

func countType(counts map[string]int, name string) {
	if _, known := counts[name]; !known && len(counts) >= maxTypes {
		name = "others"
	}
	counts[name]++
}
