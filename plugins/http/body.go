package httpin

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is what a zstd frame may make us keep. RFC 8878 recommends to
// take 8 MiB.
const maxZstdWindow = 8 << 20

var (
	gzips sync.Pool // *gzip.Reader
	zstds sync.Pool // *zstd.Decoder
)

// errTooLarge is a body over the limit, as it came or uncompressed.
var errTooLarge = errors.New("too large")

// errNoRoom is a body for which there is no room now.
var errNoRoom = errors.New("no room")

// readBody reads a body whole and uncompresses it. It takes the bytes it needs
// from room as it grows, so that no client decides how much memory it gets; what
// was taken stays taken, whatever is returned. size is what the client announced,
// -1 if nothing.
func readBody(body io.Reader, size int64, encoding string, limit int, room *claim) ([]byte, *refusal) {
	if size > int64(limit) {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body has %d bytes, more than %d (maxBody): send it in parts", size, limit)
	}
	counted := &limited{r: body, left: limit}
	in, end, err := uncompress(counted, strings.ToLower(strings.TrimSpace(encoding)))
	plain := in == io.Reader(counted)
	if errors.Is(err, errEncoding) {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding %q: send gzip, deflate, zstd or none", encoding)
	}
	var b []byte
	if err == nil {
		defer end()
		if !plain {
			size = -1
		}
		b, err = readAll(in, size, limit, room)
	}
	// A decoder may hide why it got no more.
	if counted.over {
		err = errTooLarge
	}
	var netErr interface{ Timeout() bool }
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, errTooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body has more than %d bytes (maxBody), as it came or uncompressed: send it in parts", limit)
	case errors.Is(err, errNoRoom):
		return nil, again(http.StatusTooManyRequests, "as much is in hand as may be (maxInHand)")
	case errors.As(err, &netErr) && netErr.Timeout():
		return nil, again(http.StatusRequestTimeout, "the body did not come in time (readTimeout)")
	case counted.failed != nil:
		return nil, refuse(http.StatusBadRequest, "the body ended early")
	}
	return nil, refuse(http.StatusBadRequest, "the body is no whole %s: %v", encoding, err)
}

// readAll reads to the end, growing by doubling, and no further than limit.
func readAll(in io.Reader, size int64, limit int, room *claim) ([]byte, error) {
	first := 4096
	if size >= 0 {
		first = int(size) + 1 // and one, by which the end is seen
	}
	if !room.take(first) {
		return nil, errNoRoom
	}
	b := make([]byte, 0, first)
	for {
		n, err := in.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if len(b) > limit {
			return nil, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		if len(b) < cap(b) {
			continue
		}
		// While it is copied both are there; the old one goes after that.
		grown := min(2*cap(b), limit+1)
		if !room.take(grown) {
			return nil, errNoRoom
		}
		old := cap(b)
		b = append(make([]byte, 0, grown), b...)
		room.give(old)
	}
}

var errEncoding = errors.New("unknown encoding")

// uncompress wraps in by a Content-Encoding; end gives the decoder back.
func uncompress(in io.Reader, encoding string) (out io.Reader, end func(), err error) {
	switch encoding {
	case "", "identity":
		return in, func() {}, nil
	case "gzip", "x-gzip":
		r, _ := gzips.Get().(*gzip.Reader)
		if r == nil {
			r = new(gzip.Reader)
		}
		if err := r.Reset(in); err != nil {
			gzips.Put(r)
			return nil, nil, noEOF(err)
		}
		return r, func() { gzips.Put(r) }, nil
	case "deflate":
		// RFC 9110 means zlib by it; some clients send the bare stream.
		var head [2]byte
		n, err := io.ReadFull(in, head[:])
		in = io.MultiReader(bytes.NewReader(head[:n]), in)
		if err != nil {
			return nil, nil, noEOF(err)
		}
		if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
			r, err := zlib.NewReader(in)
			if err != nil {
				return nil, nil, noEOF(err)
			}
			return r, func() {}, nil
		}
		return flate.NewReader(in), func() {}, nil
	case "zstd":
		r, _ := zstds.Get().(*zstd.Decoder)
		if r == nil {
			// One at a time, so that it has no goroutines to leave behind.
			if r, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow)); err != nil {
				return nil, nil, err
			}
		}
		if err := r.Reset(in); err != nil {
			return nil, nil, noEOF(err)
		}
		return r, func() {
			if r.Reset(nil) == nil { // lets go of the body
				zstds.Put(r)
			}
		}, nil
	}
	return nil, nil, errEncoding
}

// noEOF is err, where an early end is none that a reader would take for one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// limited reads up to left bytes and notes whether there were more, and whether
// the source failed.
type limited struct {
	r      io.Reader
	left   int
	over   bool
	failed error
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left < 0 {
		l.over = true
		return 0, errTooLarge
	}
	// One byte over the limit is how more is noticed.
	if len(b) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	l.left -= n
	if l.left < 0 {
		l.over = true
		return 0, errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.failed = err
	}
	return n, err
}
