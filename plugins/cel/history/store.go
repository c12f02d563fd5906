package history

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
)

// Store keeps events and searches them. Its methods are called from any number of
// goroutines, but for Close, which is called once, when no other call is running
// or will come.
//
// Every event has a place, a number that grows in order of arrival. What is
// oldest is forgotten first, and nobody is told.
type Store interface {
	// Add keeps an event and returns its place. An event whose id is kept already
	// is not kept twice: it has the place it had. When Add returns, the event is
	// found by searches, as is everything with a smaller place, and it is as
	// durable as the store promises. An error means that the event may not be
	// kept; adding it again is right. Now is the time at which the event came in.
	Add(ctx context.Context, e *pb.Event, now time.Time) (place uint64, err error)
	// Search answers a query. A result without an error is true of all that is
	// kept: a search that cannot be done in time is [ErrTooLong], not a smaller
	// number.
	Search(ctx context.Context, q Query) (Result, error)
	// Watch says for which paths there will be searches. Others are answered too,
	// slowly. What is kept already is prepared for new paths in the background or
	// before Watch returns.
	Watch(p Paths) error
	// Stats tells what is kept.
	Stats() Stats
	// Close lets go of what the store holds. What was kept stays kept if the store
	// keeps it in files.
	Close() error
}

// Query is one search. All of it can be written down, Index by its String, so that
// another process can be asked.
type Query struct {
	// Index is the data types that are looked at.
	Index config.IndexPattern
	// Since leaves out events whose time is before it, in whole milliseconds; the
	// zero time leaves out none.
	Since time.Time
	// Before leaves out events whose place is not below it.
	Before uint64
	// With are the criteria; an event has to fit every one.
	With []Criterion
	// Limit bounds the events of the result.
	Limit int
	// Want is how many there have to be: counting ends there, and where there are
	// fewer, the result has a number and no events.
	Want int
	// Share asks for one of several parts of a divided store: there are events
	// also where there are fewer than Want.
	Share bool
}

// Criterion asks for a value of an event.
type Criterion struct {
	// Path is where the value is, such as "origin.ip". A list fits if one of its
	// items does; what is not there has no text and no words.
	Path string
	// Match asks for any of the words of Text, in any case, instead of for a value
	// whose text is Text.
	Match bool
	// Not turns it around.
	Not bool
	// Text is the value, as fields.Text writes it.
	Text string
}

// Result is what a search found.
type Result struct {
	// Events are the newest that fit, by place, the newest first.
	Events []*pb.Event
	// Places are those of Events in the store that was asked.
	Places []uint64
	// Total is how many fit, counted up to the larger of Limit and Want.
	Total int
}

// Paths are the paths that searches ask for.
type Paths struct {
	// Terms are those whose values are compared whole.
	Terms []string
	// Words are those in whose values words are looked for.
	Words []string
}

// covers reports whether all of o is in p.
func (p Paths) covers(o Paths) bool {
	return subset(o.Terms, p.Terms) && subset(o.Words, p.Words)
}

func (p Paths) has(c *Criterion) bool {
	if c.Match {
		return slices.Contains(p.Words, c.Path)
	}
	return slices.Contains(p.Terms, c.Path)
}

func subset(part, of []string) bool {
	for _, s := range part {
		if !slices.Contains(of, s) {
			return false
		}
	}
	return true
}

// Stats is what a store holds.
type Stats struct {
	Events int
	// Bytes are on the disk, or in memory for a store in memory.
	Bytes int64
	// First and Next are the places of the oldest event and of the next to come.
	First, Next uint64
	// Segments are the parts that a store on disk has; Unprepared those of them
	// that wait for an index of paths that are watched since they were written.
	Segments, Unprepared int
	// Writes are those to the journal since a store on disk was opened, each with
	// a sync where every event is synced: calls that come together share one.
	Writes uint64
}

var (
	// ErrTooLong is the error of a search that was given up because of the time it
	// took. It can succeed later, when less is asked at once or the store has been
	// prepared for new paths.
	ErrTooLong = errors.New("search of the history took too long")
	// ErrClosed is the error of calls after Close.
	ErrClosed = errors.New("history is closed")
)

// When is the time by which an event is searched, in milliseconds since 1970:
// its own, but not later than it came in; that where it names none.
func When(e *pb.Event, now time.Time) int64 {
	for _, text := range []string{e.Timestamp, e.DeviceTime} {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return min(t.UnixMilli(), now.UnixMilli())
		}
	}
	return now.UnixMilli()
}
