package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
)

// revisionStore keeps in WORK_DIR/run which revision lies in the work dir, and
// its content, so that one whose renames were cut off is finished at the next
// start.
type revisionStore struct{ dir string }

// laidRevision is what the record says.
type laidRevision struct {
	Number uint64 `json:"number"`
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
	// Laying: it was begun; some of its files may not be in place.
	Laying bool `json:"laying,omitempty"`
}

func (s revisionStore) record() string  { return filepath.Join(s.dir, "run", "revision.json") }
func (s revisionStore) content() string { return filepath.Join(s.dir, "run", "revision.tar") }

// applied is the revision that lies in the work dir; zero for none.
func (s revisionStore) applied() laidRevision {
	var r laidRevision
	data, err := os.ReadFile(s.record())
	if err != nil || json.Unmarshal(data, &r) != nil {
		return laidRevision{}
	}
	return r
}

// finish lays down what was begun. What is not there or not whole was not begun.
func (s revisionStore) finish(ctx context.Context) error {
	r := s.applied()
	if !r.Laying {
		return nil
	}
	data, err := os.ReadFile(s.content())
	if err != nil {
		return fmt.Errorf("finish revision %d: %w", r.Number, err)
	}
	if sumOf(data) != r.SHA256 {
		return fmt.Errorf("finish revision %d: %s is not its content", r.Number, s.content())
	}
	bundle, err := config.DecodeBundle(data)
	if err == nil {
		err = bundle.LayDown(ctx, s.dir)
	}
	if err != nil {
		return fmt.Errorf("finish revision %d: %w", r.Number, err)
	}
	r.Laying = false
	return s.write(r)
}

// layDown puts a revision's files in place.
func (s revisionStore) layDown(ctx context.Context, rev bridge.Revision, bundle config.Bundle, content []byte) error {
	r := laidRevision{Number: rev.Number, ID: rev.ID, SHA256: rev.SHA256, Laying: true}
	if err := writeWhole(s.content(), content); err != nil {
		return err
	}
	if err := s.write(r); err != nil {
		return err
	}
	if err := bundle.LayDown(ctx, s.dir); err != nil {
		return err
	}
	r.Laying = false
	return s.write(r)
}

func (s revisionStore) write(r laidRevision) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record of the revision: %w", err)
	}
	return writeWhole(s.record(), data)
}

// keepAside copies local files that are about to be replaced and are in no
// revision, and says where to; "" where there are none.
func (s revisionStore) keepAside(next config.Bundle, rev bridge.Revision) (string, error) {
	local, _ := config.ReadBundle(s.dir)
	if len(local) == 0 || local.Equal(next) {
		return "", nil
	}
	content, err := local.Encode()
	if err != nil {
		return "", err
	}
	if before := s.applied(); before.Laying || before.SHA256 == sumOf(content) {
		return "", nil
	}
	to := filepath.Join(s.dir, "run", fmt.Sprintf("replaced-%s-by-revision-%d", time.Now().UTC().Format("20060102T150405"), rev.Number))
	if earlier, err := filepath.Glob(filepath.Join(s.dir, "run", fmt.Sprintf("replaced-*-by-revision-%d", rev.Number))); err == nil {
		for _, dir := range earlier { // of an attempt that did not get further
			if kept, _ := config.ReadBundle(dir); kept.Equal(local) {
				return dir, nil
			}
		}
	}
	if err := os.Mkdir(to, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("keep local files aside: %w", err)
	}
	for _, f := range local {
		path := filepath.Join(to, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return "", fmt.Errorf("keep local files aside: %w", err)
		}
		if err := writeWhole(path, f.Data); err != nil {
			return "", fmt.Errorf("keep local files aside: %w", err)
		}
	}
	return to, nil
}

// writeWhole writes a file for the node's user alone: readers see the old or the
// new content.
func writeWhole(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone if renamed
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// relative takes a folder off the file names in texts.
func relative(texts []string, dir string) []string {
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], dir+string(filepath.Separator), "")
	}
	return texts
}
