package httpin

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// journal keeps the keys on disk: lines are added, and once in a while it is
// written anew. It is not synced. What it saves is the time at which a key first
// came, which a power loss may cost; then a request that is sent again once more
// may give its logs twice, as one without a key does. It is used by one goroutine
// at a time.
type journal struct {
	path  string
	file  *os.File
	lines int
	log   hclog.Logger
}

// maxJournal bounds what is read at the start, in bytes.
const maxJournal = 1 << 30

// openKeys reads the journal below dir.
func openKeys(dir string, most int, keep time.Duration, now time.Time, log hclog.Logger) (*keys, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make folder of keys: %w", err)
	}
	k := &keys{most: most, keep: keep, known: map[digest]*known{}}
	k.journal = &journal{path: filepath.Join(dir, "keys"), log: log}
	f, err := os.Open(k.journal.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open keys: %w", err)
	default:
		bad := 0
		in := bufio.NewScanner(f)
		in.Buffer(make([]byte, 4096), 4096)
		for read := 0; in.Scan() && read < maxJournal; read += len(in.Bytes()) + 1 {
			if !k.take(in.Text()) {
				bad++
			}
			if len(k.known) > 2*most {
				k.forget(now)
			}
		}
		err := in.Err()
		f.Close()
		if bad > 0 || err != nil {
			log.Warn("the journal of keys cannot be read whole; a request that is not found there is a new one", "lines", bad, "error", err)
		}
	}
	k.forget(now)
	if err := k.journal.rewrite(k); err != nil {
		return nil, fmt.Errorf("write keys: %w", err)
	}
	return k, nil
}

// take reads one line of the journal.
//
//	begun KEY BODY NANOSECONDS
//	stored KEY COUNT
func (k *keys) take(line string) bool {
	word := strings.Split(line, " ")
	var key, body digest
	switch {
	case len(word) == 4 && word[0] == "begun":
		at, err := strconv.ParseInt(word[3], 10, 64)
		if !read(&key, word[1]) || !read(&body, word[2]) || err != nil {
			return false
		}
		if k.known[key] == nil {
			k.add(key, &known{body: body, at: time.Unix(0, at), stored: -1})
		}
		return true
	case len(word) == 3 && word[0] == "stored":
		n, err := strconv.Atoi(word[2])
		if !read(&key, word[1]) || err != nil || n < 0 {
			return false
		}
		if e := k.known[key]; e != nil {
			e.stored = n
		}
		return true
	}
	return false
}

func read(d *digest, s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && copy(d[:], b) == len(d) && len(b) == len(d)
}

func begunLine(key, body digest, at time.Time) string {
	return "begun " + key.String() + " " + body.String() + " " + strconv.FormatInt(at.UnixNano(), 10) + "\n"
}

func storedLine(key digest, n int) string {
	return "stored " + key.String() + " " + strconv.Itoa(n) + "\n"
}

// begun writes down that a key has come, before anything is done with it. A line
// is one write: a process that is killed leaves it whole or out.
func (j *journal) begun(key, body digest, at time.Time) error {
	j.lines++
	_, err := j.file.WriteString(begunLine(key, body, at))
	if err != nil {
		j.log.Error("cannot write down a key", "error", err)
	}
	return err
}

// stored writes down that nothing is left to do for a key. Without the line its
// logs would be sent again, with the same ids.
func (j *journal) stored(key digest, n int) {
	j.lines++
	if _, err := j.file.WriteString(storedLine(key, n)); err != nil {
		j.log.Error("cannot write down that a key is stored", "error", err)
	}
}

// rewrite writes what is known into a new file and puts it in place of the old.
func (j *journal) rewrite(k *keys) error {
	next := j.path + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	lines := 0
	for _, key := range k.order {
		e := k.known[key]
		if e == nil {
			continue
		}
		w.WriteString(begunLine(key, e.body, e.at))
		lines++
		if e.stored >= 0 {
			w.WriteString(storedLine(key, e.stored))
			lines++
		}
	}
	err = w.Flush()
	if err == nil {
		err = os.Rename(next, j.path)
	}
	if err != nil {
		f.Close()
		return err
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.lines = f, lines // which goes on where the new one ends
	return nil
}

func (j *journal) close() {
	if j.file != nil {
		_ = j.file.Close() // nothing is buffered
	}
}
