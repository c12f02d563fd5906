package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	zstdName, zstdSuffix = "zstd", ".ndjson.zst"
	gzipName, gzipSuffix = "gzip", ".ndjson.gz"
)

// codec makes and reads the frames of a file: each is whole by itself, and
// carries a checksum of its content.
type codec interface {
	suffix() string
	// encode appends one frame with the content. It is called concurrently.
	encode(dst, content []byte) ([]byte, error)
	// decode reads the first frame of text, and says how long it is.
	decode(text []byte) (content []byte, size int, err error)
	// magic is what a frame begins with.
	magic() []byte
}

// maxFrame bounds what one frame holds, in bytes of content.
const maxFrame = 256 << 20

var errTorn = errors.New("torn")

func newCodec(name string) (codec, error) {
	if name == gzipName {
		return gzipCodec{}, nil
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(4),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	return &zstdCodec{e, d}, nil
}

type zstdCodec struct {
	e *zstd.Encoder
	d *zstd.Decoder
}

func (*zstdCodec) suffix() string { return zstdSuffix }
func (*zstdCodec) magic() []byte  { return []byte{0x28, 0xb5, 0x2f, 0xfd} }

func (c *zstdCodec) encode(dst, content []byte) ([]byte, error) {
	return c.e.EncodeAll(content, dst), nil
}

func (c *zstdCodec) decode(text []byte) ([]byte, int, error) {
	size, err := zstdFrame(text)
	if err != nil {
		return nil, 0, err
	}
	content, err := c.d.DecodeAll(text[:size], nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errTorn, err)
	}
	return content, size, nil
}

// zstdFrame is the length of the frame that text begins with (RFC 8878, 3.1.1).
// Only frames with a checksum are taken: no others are written.
func zstdFrame(text []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(text); err != nil || h.Skippable || !h.HasCheckSum {
		return 0, errTorn
	}
	at := h.HeaderSize
	for {
		if len(text)-at < 3 {
			return 0, errTorn
		}
		head := uint32(text[at]) | uint32(text[at+1])<<8 | uint32(text[at+2])<<16
		size := int(head >> 3)
		switch kind := head >> 1 & 3; kind {
		case 1: // one byte, repeated
			size = 1
		case 3:
			return 0, errTorn
		}
		if at += 3; len(text)-at < size {
			return 0, errTorn
		}
		at += size
		if head&1 == 1 {
			break
		}
	}
	if at += 4; at > len(text) {
		return 0, errTorn
	}
	return at, nil
}

type gzipCodec struct{}

// gzipWriters are kept: a new one costs most of a megabyte.
var gzipWriters sync.Pool

func (gzipCodec) suffix() string { return gzipSuffix }
func (gzipCodec) magic() []byte  { return []byte{0x1f, 0x8b, 0x08} }

func (gzipCodec) encode(dst, content []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, ok := gzipWriters.Get().(*gzip.Writer)
	if !ok {
		w = gzip.NewWriter(out)
	}
	defer gzipWriters.Put(w)
	w.Reset(out)
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (gzipCodec) decode(text []byte) ([]byte, int, error) {
	in := bytes.NewReader(text) // a byte reader: no more is taken than the member
	r, err := gzip.NewReader(in)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errTorn, err)
	}
	r.Multistream(false)
	content, err := io.ReadAll(io.LimitReader(r, maxFrame+1))
	if err != nil || len(content) > maxFrame {
		return nil, 0, fmt.Errorf("%w: %w", errTorn, cmpErr(err))
	}
	return content, len(text) - in.Len(), nil
}

func cmpErr(err error) error {
	if err == nil {
		return fmt.Errorf("above %d bytes", maxFrame)
	}
	return err
}

// source is a file that is walked.
type source interface {
	io.ReaderAt
}

const firstLook = 1 << 20

// walk hands the content of each frame of a file to visit, and returns how many
// bytes of it are whole frames. damaged says that behind the first that is not
// there are whole ones: that is no torn end. It holds no more than a frame.
func walk(c codec, f source, length int64, visit func(content []byte)) (good int64, damaged bool, err error) {
	look := firstLook
	for good < length {
		text := make([]byte, min(int64(look), length-good))
		if _, err := f.ReadAt(text, good); err != nil {
			return good, false, err
		}
		for len(text) > 0 {
			content, size, err := c.decode(text)
			if err != nil {
				break
			}
			visit(content)
			good += int64(size)
			text = text[size:]
			look = firstLook
		}
		if good+int64(len(text)) >= length || look >= maxFrame {
			return good, search(c, text), nil
		}
		if len(text) >= look {
			look *= 4 // not one whole frame was in it
		}
	}
	return good, false, nil
}

// search looks for a whole frame behind the beginning of text.
func search(c codec, text []byte) bool {
	for tries := 0; len(text) > 1 && tries < 1<<12; tries++ {
		i := bytes.Index(text[1:], c.magic())
		if i < 0 {
			return false
		}
		text = text[1+i:]
		if _, _, err := c.decode(text); err == nil {
			return true
		}
	}
	return false
}
