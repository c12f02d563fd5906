package email

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/epmesh/epmesh/plugins/internal/durable"
)

// append writes at the end of what is synced.
func (s *spool) append(text []byte) error {
	if s.broken {
		// A sync that failed may have lost what it was for: only a new file is sure.
		if err := s.rewrite(); err != nil {
			return err
		}
	}
	s.broken = true
	if _, err := s.f.WriteAt(text, s.end); err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	if err := s.f.Sync(); err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	s.broken = false
	s.end += int64(len(text))
	return nil
}

// compact writes the file anew with what waits and what is remembered.
func (s *spool) compact() error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.rewrite()
}

func (s *spool) rewrite() error {
	fail := func(err error) error { return fmt.Errorf("write spool: %w", err) }
	f, err := os.OpenFile(s.path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return fail(err)
	}
	out := bufio.NewWriter(f)
	size := int64(0)
	put := func(rec record) {
		line, err := formatRecord(rec)
		if err == nil {
			n, _ := out.Write(line) // Flush says what failed
			size += int64(n)
		}
	}
	s.mu.Lock()
	var past record
	for _, k := range s.history[max(len(s.history)-remembered, 0):] {
		past.Sent = append(past.Sent, hex.EncodeToString(k[:]))
	}
	if len(past.Sent) > 0 {
		put(past)
	}
	for _, k := range s.waiting {
		put(record{Put: k})
	}
	s.mu.Unlock()
	err = errors.Join(out.Flush(), f.Sync())
	if err == nil {
		err = os.Rename(s.path+".new", s.path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(s.path))
	}
	if err != nil {
		f.Close()
		return fail(err)
	}
	if s.f != nil {
		s.f.Close()
	}
	s.f, s.end, s.broken = f, size, false
	return nil
}
