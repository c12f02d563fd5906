package email

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
)

const (
	remembered = 20_000   // messages that are known to have been mailed
	compactAt  = 16 << 20 // bytes of a spool in which nothing waits
	maxRecord  = 80 << 20
)

// errFull says that no more may wait.
var errFull = errors.New("the spool is full")

// kept is a message that waits for its mail.
type kept struct {
	ID        string    `json:"id"`
	Topic     string    `json:"topic"`
	Timestamp string    `json:"timestamp"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"` // when it came

	// After a failure it rests, longer each time.
	notBefore time.Time
	rest      time.Duration
}

func (k *kept) key() delivery.Key { return delivery.KeyOf(k.ID, k.Topic) }

func (k *kept) content() delivery.Content {
	return delivery.Read(&pb.Message{Id: k.ID, Timestamp: k.Timestamp, Topic: k.Topic, Message: k.Text})
}

// spool is what waits to be mailed and what was, in a file that survives the
// process and the power: lines are added and synced, and the file is written anew
// when much of it is of the past. Safe for concurrent use.
type spool struct {
	path     string
	most     int
	mostSize int64
	log      hclog.Logger

	mu      sync.Mutex
	waiting []*kept
	byKey   map[delivery.Key]bool
	size    int64 // of the texts that wait
	sent    *delivery.Once
	history []delivery.Key // of sent, for the next file

	write  sync.Mutex // held by who writes
	f      *os.File
	end    int64   // of what is synced
	next   *flight // what the next write takes
	broken bool    // behind end there may be something
}

// flight is what several callers write together.
type flight struct {
	text []byte
	done chan struct{}
	err  error
}

// openSpool reads the spool at path. Its torn end, which nobody was told is kept,
// is cut.
func openSpool(path string, most int, mostSize int64, log hclog.Logger) (*spool, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &spool{path: path, most: most, mostSize: mostSize, log: log, byKey: map[delivery.Key]bool{}, sent: delivery.NewOnce(remembered)}
	text, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open spool: %w", err)
	default:
		bad, err := s.read(text)
		text.Close()
		if err != nil {
			return nil, fmt.Errorf("read spool: %w", err)
		}
		if bad > 0 {
			// More than a crash can do: keep it for whoever wants to look.
			log.Error("the spool is damaged; what can be read is mailed", "file", path, "records", bad)
			_ = os.Link(path, path+".damaged")
		}
	}
	if err := s.compact(); err != nil {
		return nil, err
	}
	return s, nil
}

// read takes the records in and returns how many before the last were no
// records.
func (s *spool) read(r io.Reader) (bad int, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	torn := 0
	for {
		text, err := readLine(in)
		if err == io.EOF {
			return bad, nil
		}
		if err != nil {
			return bad, err
		}
		bad += torn
		torn = 0
		rec, ok := parseRecord(text)
		if !ok {
			torn = 1
			continue
		}
		s.apply(rec)
	}
}

func (s *spool) apply(rec record) {
	if k := rec.Put; k != nil && !s.byKey[k.key()] && !s.sent.Has(k.key()) {
		s.byKey[k.key()] = true
		s.waiting = append(s.waiting, k)
		s.size += int64(len(k.Text))
	}
	for _, text := range rec.Sent {
		var key delivery.Key
		if n, err := hex.Decode(key[:], []byte(text)); err == nil && n == len(key) {
			s.forget(key)
		}
	}
}

// forget moves a message from those that wait to those that were sent.
func (s *spool) forget(key delivery.Key) {
	if s.byKey[key] {
		delete(s.byKey, key)
		for i, k := range s.waiting {
			if k.key() == key {
				s.size -= int64(len(k.Text))
				s.waiting = append(s.waiting[:i:i], s.waiting[i+1:]...)
				break
			}
		}
	}
	s.sent.Add(key)
	if s.history = append(s.history, key); len(s.history) > 2*remembered {
		s.history = append([]delivery.Key(nil), s.history[remembered:]...)
	}
}

// put returns once the message is kept durably, or was before, or was mailed.
func (s *spool) put(m *pb.Message, now time.Time) error {
	k := &kept{ID: m.GetId(), Topic: m.GetTopic(), Timestamp: m.GetTimestamp(), Text: m.GetMessage(), At: now.UTC()}
	s.mu.Lock()
	known := s.byKey[k.key()] || s.sent.Has(k.key())
	full := len(s.waiting) >= s.most || s.size+int64(len(k.Text)) > s.mostSize
	s.mu.Unlock()
	switch {
	case known:
		return nil
	case full:
		return errFull
	}
	line, err := formatRecord(record{Put: k})
	if err != nil {
		return err
	}
	if err := s.add(line); err != nil {
		return err
	}
	s.mu.Lock()
	s.apply(record{Put: k})
	s.mu.Unlock()
	return nil
}

// done notes durably that messages were mailed. Where that fails it is still
// known to this process.
func (s *spool) done(keys []delivery.Key) error {
	rec := record{}
	for _, k := range keys {
		rec.Sent = append(rec.Sent, hex.EncodeToString(k[:]))
	}
	line, err := formatRecord(rec)
	if err == nil {
		err = s.add(line)
	}
	s.mu.Lock()
	for _, k := range keys {
		s.forget(k)
	}
	idle := len(s.waiting) == 0
	s.mu.Unlock()
	if err == nil && idle {
		s.write.Lock()
		large := s.end > compactAt
		s.write.Unlock()
		if large {
			err = s.compact()
		}
	}
	return err
}

func (s *spool) has(key delivery.Key) bool { return s.sent.Has(key) }

// due are the messages that are to be mailed now, at most so many: if one has
// waited long enough, or there are that many. Else it says when to look again; 0
// is for nothing that waits.
func (s *spool) due(now time.Time, every time.Duration, most int) (list []*kept, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	for _, k := range s.waiting {
		at := k.At.Add(every)
		if k.notBefore.After(at) {
			at = k.notBefore
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
		if !k.notBefore.After(now) && len(list) < most {
			list = append(list, k)
		}
	}
	switch {
	case next.IsZero():
		return nil, 0
	case len(list) == most || !next.After(now):
		return list, 0
	}
	return nil, next.Sub(now)
}

// postpone lets messages rest, so that others go before them.
func (s *spool) postpone(list []*kept, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range list {
		k.rest = min(max(2*k.rest, firstRest), maxRest)
		k.notBefore = now.Add(k.rest)
	}
}

// resting reports whether a message waits that could not be mailed.
func (s *spool) resting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.waiting, func(k *kept) bool { return k.rest > 0 })
}

// add writes a line and returns once it is synced. Callers that come while
// another writes share the next write.
func (s *spool) add(line []byte) error {
	s.mu.Lock()
	f := s.next
	leads := f == nil
	if leads {
		f = &flight{done: make(chan struct{})}
		s.next = f
	}
	f.text = append(f.text, line...)
	s.mu.Unlock()
	if !leads {
		<-f.done
		return f.err
	}
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	s.next = nil
	s.mu.Unlock()
	f.err = s.append(f.text)
	close(f.done)
	return f.err
}

func (s *spool) close() error { return s.f.Close() }
