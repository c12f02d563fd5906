package history

import (
	"bytes"
	"encoding/binary"
	"os"
	"sort"

	"github.com/klauspost/compress/zstd"
)

// An events file is a full segment's events. Integers are little-endian. Events of
// one data type lie together: they compress to two thirds of what they do as they
// came, and searches ask for those of one data type. Where an event lies is its
// slot.
//
//	magic
//	blocks: checksum u32, then zstd: of each event its length (uvarint), its body
//	tail:   base u64, events u32, blocks u32, width u32, 0 u32,
//	        oldest, newest, began, arrived i64
//	        of each block its offset u32 and its first slot u32; end offset u32
//	        of each event its slot u16
//	        of each event its time: after oldest, in 4 or 8 bytes (width)
//	footer: length of the tail u32, its checksum u32, magic

var (
	eventsMagic = []byte("epmhevt1")
	eventsEnd   = []byte("epmhend1")
)

const (
	tailFixed    = 56
	footerSize   = 16
	blockBytes   = 24 << 10 // before compression; a larger event has its own
	maxEventSize = 64 << 20 // a body; more than any message
)

// events is an events file that is mapped.
type events struct {
	mapping
	base                           uint64
	size                           int
	oldest, newest, began, arrived int64
	blocks                         []byte // of the tail
	slots                          []byte
	times                          []byte
	width                          int
}

// parseEvents reads what an events file says of itself.
func parseEvents(data []byte) (*events, error) {
	if len(data) < len(eventsMagic)+tailFixed+footerSize || !bytes.HasPrefix(data, eventsMagic) {
		return nil, damaged("it does not begin as an events file does")
	}
	footer := data[len(data)-footerSize:]
	if !bytes.Equal(footer[8:], eventsEnd) {
		return nil, damaged("it has no end")
	}
	length := int64(binary.LittleEndian.Uint32(footer))
	begin := int64(len(data)) - footerSize - length
	if length < tailFixed || begin < int64(len(eventsMagic)) {
		return nil, damaged("its tail cannot have %d bytes", length)
	}
	tail := data[begin : begin+length]
	if checksum(tail) != binary.LittleEndian.Uint32(footer[4:]) {
		return nil, damaged("the checksum of its tail is wrong")
	}
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(tail[at:])) }
	i64 := func(at int) int64 { return int64(binary.LittleEndian.Uint64(tail[at:])) }
	e := &events{
		base: uint64(i64(0)), size: int(u32(8)), width: int(u32(16)),
		oldest: i64(24), newest: i64(32), began: i64(40), arrived: i64(48),
	}
	blocks := u32(12)
	if e.size < 1 || e.size > segmentEvents || blocks < 1 || blocks > int64(e.size) || e.width != 4 && e.width != 8 ||
		length != tailFixed+8*blocks+4+int64((2+e.width)*e.size) {
		return nil, damaged("its tail contradicts itself")
	}
	e.blocks = tail[tailFixed:][:8*blocks+4]
	e.slots = tail[tailFixed+8*blocks+4:][:2*e.size]
	e.times = tail[tailFixed+8*blocks+4+int64(2*e.size):]
	for i := range e.blockCount() {
		from, to := e.block(i)
		if from < len(eventsMagic) || to <= from+4 || to > int(begin) || i > 0 && e.first(i) <= e.first(i-1) {
			return nil, damaged("block %d contradicts the file", i)
		}
	}
	if e.first(0) != 0 || e.first(e.blockCount()-1) >= e.size {
		return nil, damaged("its blocks have other events than it has")
	}
	return e, nil
}

func (e *events) blockCount() int { return len(e.blocks) / 8 }

func (e *events) block(i int) (from, to int) {
	return int(binary.LittleEndian.Uint32(e.blocks[8*i:])), int(binary.LittleEndian.Uint32(e.blocks[8*i+8:]))
}

func (e *events) first(i int) int { return int(binary.LittleEndian.Uint32(e.blocks[8*i+4:])) }

// last is the slot after the last of a block.
func (e *events) last(i int) int {
	if i+1 < e.blockCount() {
		return e.first(i + 1)
	}
	return e.size
}

func (e *events) time(n int) int64 {
	if e.width == 4 {
		return e.oldest + int64(binary.LittleEndian.Uint32(e.times[4*n:]))
	}
	return e.oldest + int64(binary.LittleEndian.Uint64(e.times[8*n:]))
}

func (e *events) slot(n int) int { return int(binary.LittleEndian.Uint16(e.slots[2*n:])) }

// order gives the event of each slot.
func (e *events) order() ([]uint16, error) {
	order := make([]uint16, e.size)
	var seen bitset
	for n := range e.size {
		s := e.slot(n)
		if s >= e.size || seen[s>>6]&(1<<(s&63)) != 0 {
			return nil, damaged("two events lie in one slot")
		}
		seen[s>>6] |= 1 << (s & 63)
		order[s] = uint16(n)
	}
	return order, nil
}

// blockOf is the block that has a slot.
func (e *events) blockOf(slot int) int {
	return sort.Search(e.blockCount(), func(i int) bool { return e.first(i) > slot }) - 1
}

var decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(2*maxEventSize))

// bodies gives the bodies of a block's events. They lie in buffer, if it is large
// enough, which is returned for the next.
func (e *events) bodies(i int, buffer []byte) (list [][]byte, _ []byte, err error) {
	from, to := e.block(i)
	packed := e.data[from:to]
	if checksum(packed[4:]) != binary.LittleEndian.Uint32(packed) {
		return nil, buffer, damaged("the checksum of block %d is wrong", i)
	}
	raw, err := decoder.DecodeAll(packed[4:], buffer[:0])
	if err != nil {
		return nil, buffer, damaged("block %d: %v", i, err)
	}
	rest := raw
	for range e.last(i) - e.first(i) {
		length, used := binary.Uvarint(rest)
		if used <= 0 || length > uint64(len(rest)-used) {
			return nil, raw, damaged("block %d ends early", i)
		}
		list = append(list, rest[used:][:length])
		rest = rest[used+int(length):]
	}
	if len(rest) > 0 {
		return nil, raw, damaged("block %d has more than its events", i)
	}
	return list, raw, nil
}

// eventsWriter writes an events file.
type eventsWriter struct {
	file   *os.File
	packer *zstd.Encoder
	offset int
	raw    []byte
	packed []byte
	blocks []byte
	n      int // slots
	first  int // of the block that is being filled
}

func newEventsWriter(f *os.File, packer *zstd.Encoder) (*eventsWriter, error) {
	w := &eventsWriter{file: f, packer: packer}
	return w, w.write(eventsMagic)
}

func (w *eventsWriter) write(b []byte) error {
	w.offset += len(b)
	_, err := w.file.Write(b)
	return err
}

func (w *eventsWriter) add(body []byte) error {
	if len(w.raw) > 0 && len(w.raw)+len(body) > blockBytes {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.raw = binary.AppendUvarint(w.raw, uint64(len(body)))
	w.raw = append(w.raw, body...)
	w.n++
	return nil
}

func (w *eventsWriter) flush() error {
	w.blocks = binary.LittleEndian.AppendUint32(w.blocks, uint32(w.offset))
	w.blocks = binary.LittleEndian.AppendUint32(w.blocks, uint32(w.first))
	w.packed = w.packer.EncodeAll(w.raw, append(w.packed[:0], 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(w.packed, checksum(w.packed[4:]))
	w.raw, w.first = w.raw[:0], w.n
	return w.write(w.packed)
}

// finish writes what is left, with what the index knows of the segment and the
// order in which its events were added.
func (w *eventsWriter) finish(base uint64, b *builder, order []uint16) error {
	if err := w.flush(); err != nil {
		return err
	}
	width := 4
	if uint64(b.newest-b.oldest) >= 1<<32 {
		width = 8
	}
	var tail []byte
	tail = binary.LittleEndian.AppendUint64(tail, base)
	for _, v := range []int{w.n, len(w.blocks) / 8, width, 0} {
		tail = binary.LittleEndian.AppendUint32(tail, uint32(v))
	}
	for _, v := range []int64{b.oldest, b.newest, b.began, b.arrived} {
		tail = binary.LittleEndian.AppendUint64(tail, uint64(v))
	}
	tail = append(tail, w.blocks...)
	tail = binary.LittleEndian.AppendUint32(tail, uint32(w.offset))
	slots := make([]byte, 2*len(order))
	for slot, n := range order {
		binary.LittleEndian.PutUint16(slots[2*int(n):], uint16(slot))
	}
	tail = append(tail, slots...)
	for _, t := range b.times {
		if width == 4 {
			tail = binary.LittleEndian.AppendUint32(tail, uint32(t-b.oldest))
		} else {
			tail = binary.LittleEndian.AppendUint64(tail, uint64(t-b.oldest))
		}
	}
	sum := checksum(tail)
	length := uint32(len(tail))
	tail = binary.LittleEndian.AppendUint32(tail, length)
	tail = binary.LittleEndian.AppendUint32(tail, sum)
	return w.write(append(tail, eventsEnd...))
}
