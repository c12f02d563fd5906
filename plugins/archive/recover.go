package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// damagedMark stands at the end of the name of a file that something else than a
// crash has harmed. It is kept as it is.
const damagedMark = ".damaged"

// recover ends the files that a process left open: what is torn at their end is
// cut, which nobody was told is kept. seen is told of each line, so that what
// comes again is known.
func (w *writer) recover(seen func(kind, tenant, id string)) error {
	var left []string
	var ended []kept
	err := fs.WalkDir(w.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, _, open, _, ok := parseName(d.Name(), w.node); ok && open && d.Type().IsRegular() {
			left = append(left, name)
		} else if ok && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil && time.Since(info.ModTime()) < lookBack {
				ended = append(ended, kept{name: name, time: info.ModTime(), size: info.Size()})
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for open files: %w", err)
	}
	w.remember(ended, seen)
	for _, name := range left {
		if err := w.mend(name, seen); err != nil {
			return fmt.Errorf("mend %s: %w", name, err)
		}
	}
	return nil
}

const (
	// lookBack is how old a file may be whose ids are known again after a start:
	// what was under way when the plugin ended comes again sooner.
	lookBack      = 10 * time.Minute
	lookBackBytes = 64 << 20
)

// remember reads the ids of files that ended lately, the newest last. What
// cannot be read is left: it only serves to know what comes again.
func (w *writer) remember(ended []kept, seen func(kind, tenant, id string)) {
	slices.SortFunc(ended, func(a, b kept) int { return b.time.Compare(a.time) })
	bytes := int64(0)
	n := 0
	for ; n < len(ended) && bytes+ended[n].size <= lookBackBytes; n++ {
		bytes += ended[n].size
	}
	for _, k := range slices.Backward(ended[:n]) {
		kind, _, _, suffix, _ := parseName(path.Base(k.name), w.node)
		c, err := codecOf(suffix)
		if err != nil {
			continue
		}
		f, err := w.root.Open(k.name)
		if err != nil {
			continue
		}
		_, _, _ = walk(c, f, k.size, func(content []byte) { eachID(content, kind, seen) })
		f.Close()
	}
}

func codecOf(suffix string) (codec, error) {
	if suffix == gzipSuffix {
		return newCodec(gzipName)
	}
	return newCodec(zstdName)
}

// eachID tells of the lines of a frame, and returns their number.
func eachID(content []byte, kind string, seen func(kind, tenant, id string)) (lines int64) {
	for text := range bytes.Lines(content) {
		lines++
		seen(kind, gjson.GetBytes(text, "tenantId").Str, gjson.GetBytes(text, "id").Str)
	}
	return lines
}

func (w *writer) mend(name string, seen func(kind, tenant, id string)) error {
	kind, number, _, suffix, _ := parseName(path.Base(name), w.node)
	c, err := codecOf(suffix)
	if err != nil {
		return err
	}
	opened, err := w.root.OpenFile(name, os.O_RDWR, fileMode)
	if err != nil {
		return err
	}
	defer opened.Close()
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	f := &file{folder: path.Dir(name), kind: kind, node: w.node, number: number, suffix: suffix, sum: sha256.New()}
	good, damaged, err := walk(c, opened, info.Size(), func(content []byte) {
		f.raw += int64(len(content))
		f.lines += eachID(content, kind, seen)
	})
	if err != nil {
		return err
	}
	if damaged {
		w.log.Error("a file is damaged in the middle; it is kept as it is", "file", name, "readable", good, "bytes", info.Size())
		return w.root.Rename(name, f.name(false)+damagedMark)
	}
	if cut := info.Size() - good; cut > 0 {
		w.log.Warn("cutting what a crash tore, which was not acknowledged", "file", name, "bytes", cut)
		if err := errors.Join(opened.Truncate(good), opened.Sync()); err != nil {
			return err
		}
	}
	f.size = good
	if w.Manifest {
		if _, err := io.Copy(f.sum, io.NewSectionReader(opened, 0, good)); err != nil {
			return err
		}
	}
	return w.seal(f)
}

// finished reports whether a name is that of a file of this node that is ended,
// with its manifest or mark.
func finished(name, node string) bool {
	name = strings.TrimSuffix(strings.TrimSuffix(name, manifestSuffix), damagedMark)
	_, _, open, _, ok := parseName(name, node)
	return ok && !open
}
