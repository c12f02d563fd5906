package httpin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
)

const (
	// minToken is how long a token has to be, in bytes: shorter ones can be
	// guessed.
	minToken = 16
	// maxTokenFile bounds a token file.
	maxTokenFile = 64 << 10
)

// tokens are the bearer tokens that hold now. Safe for concurrent use.
type tokens struct {
	files []token
	held  atomic.Pointer[[]heldToken]
}

// heldToken is one token: its hash, and which of the files it is from.
type heldToken struct {
	sum  [sha256.Size]byte
	file int
}

// load reads all files. With an error what was held before goes on to hold.
func (t *tokens) load() error {
	var all []heldToken
	var errs []error
	for i, f := range t.files {
		sums, err := readTokens(f.File)
		if err != nil {
			errs = append(errs, fmt.Errorf("tokens[%d].file: %w", i, err))
		}
		for _, sum := range sums {
			all = append(all, heldToken{sum: sum, file: i})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.held.Store(&all)
	return nil
}

// readTokens reads one file: a token a line, so that an old and a new one can
// hold side by side. Lines that are empty or begin with # are not looked at.
func readTokens(name string) ([][sha256.Size]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s can be read or written by everybody (mode %s): chmod 600", name, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxTokenFile {
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxTokenFile)
	}
	var sums [][sha256.Size]byte
	n := 0
	for line := range bytes.Lines(b) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(line) < minToken || bytes.ContainsAny(line, " \t") {
			return nil, fmt.Errorf("%s, line %d: a token has at least %d characters and no spaces, such as the output of: openssl rand -hex 32", name, n, minToken)
		}
		sums = append(sums, sha256.Sum256(line))
	}
	if len(sums) == 0 {
		return nil, fmt.Errorf("%s holds no token", name)
	}
	return sums, nil
}

// admit says whose token a request carries: the index of its file, -1 where none
// is asked for. All tokens are compared, whichever fits, so that the time taken
// tells nothing.
func (t *tokens) admit(r *http.Request) (int, *refusal) {
	if len(t.files) == 0 {
		return -1, nil
	}
	scheme, said, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if said = strings.TrimSpace(said); !strings.EqualFold(scheme, "Bearer") || said == "" {
		return 0, refuse(http.StatusUnauthorized, "a bearer token is needed: send Authorization: Bearer TOKEN")
	}
	sum := sha256.Sum256([]byte(said))
	found := -1
	for _, h := range *t.held.Load() {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(h.sum[:], sum[:]), h.file, found)
	}
	if found < 0 {
		return 0, refuse(http.StatusUnauthorized, "this bearer token does not hold")
	}
	return found, nil
}

// bound is what the bearer of a file's token may not choose.
func (t *tokens) bound(file int) origin {
	if file < 0 {
		return origin{}
	}
	return t.files[file].origin()
}

// name tells one file's bearers from another's.
func (t *tokens) name(file int) string {
	if file < 0 {
		return ""
	}
	return t.files[file].File
}

// filesStamp tells whether one of these files has changed.
func filesStamp(names []string) string {
	var b strings.Builder
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			b.WriteString("-;")
		case err != nil:
			b.WriteString("?;")
		default:
			fmt.Fprintf(&b, "%d %d %s;", info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
	}
	return b.String()
}
