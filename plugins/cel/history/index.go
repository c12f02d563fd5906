package history

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"os"
	"sort"

	"github.com/epmesh/epmesh/plugins/internal/durable"
)

// An index file is what can be made anew of an events file at any time.
//
//	header:   magic, base u64, proof u64, events u32, keys u32, filter u32,
//	          names u32, postings u32, 0 up to 64 bytes
//	filter:   of the ids
//	keys:     u64, ascending
//	refs:     u32 for each key: an event, with the top bit; or an offset, in units
//	          of 2 bytes, in postings
//	postings: their number of events less one u16; a list of u16, or a bitmap
//	names:    of Terms, Words and data types their number and each with its length
//	checksum  u32, of all before

var indexMagic = []byte("epmhidx1")

const (
	indexHeader = 64
	direct      = 1 << 31 // of a ref
	bitmapBytes = segmentEvents / 8
	bitmapFrom  = bitmapBytes / 2 // events for which a bitmap is smaller than a list
)

// index is an index file that is mapped.
type index struct {
	mapping
	size     int
	filter   []byte
	keys     []byte
	refs     []byte
	postings []byte
	paths    Paths
	types    []string
}

// proof is what an index says of the secret that its keys were made with.
func (s *secret) proof() uint64 {
	var scratch []byte
	return s.key('p', "", "proof", &scratch)
}

// parseIndex reads an index file of the segment with this base and size.
func parseIndex(data []byte, base, proof uint64, size int) (*index, error) {
	if len(data) < indexHeader+4 || !bytes.HasPrefix(data, indexMagic) {
		return nil, damaged("it does not begin as an index does")
	}
	body := data[:len(data)-4]
	if checksum(body) != binary.LittleEndian.Uint32(data[len(body):]) {
		return nil, damaged("its checksum is wrong")
	}
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(data[at:])) }
	if binary.LittleEndian.Uint64(data[8:]) != base || binary.LittleEndian.Uint64(data[16:]) != proof || u32(24) != size {
		return nil, damaged("it belongs to other events or another key")
	}
	x := &index{size: size}
	keys, filter, names, postings := u32(28), u32(32), u32(36), u32(40)
	if len(body) != indexHeader+filter+12*keys+postings+names || filter%filterBlock != 0 {
		return nil, damaged("its parts do not add up")
	}
	cut := func(n int) (part []byte) {
		part, body = body[:n], body[n:]
		return part
	}
	cut(indexHeader)
	x.filter, x.keys, x.refs, x.postings = cut(filter), cut(8*keys), cut(4*keys), cut(postings)
	for _, list := range []*[]string{&x.paths.Terms, &x.paths.Words, &x.types} {
		var ok bool
		if *list, body, ok = cutNames(body); !ok {
			return nil, damaged("its names end early")
		}
	}
	return x, nil
}

// find gives the events that have a key.
func (x *index) find(key uint64) (posting, error) {
	n := len(x.keys) / 8
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(x.keys[8*i:]) }
	// Keys are spread evenly, so it is near where it would be if they were
	// perfectly so.
	guess, _ := bits.Mul64(key, uint64(n))
	from, to := int(guess), int(guess)
	for step := 16; from > 0 && at(from-1) >= key; step *= 2 {
		from = max(0, from-step)
	}
	for step := 16; to < n && at(to) < key; step *= 2 {
		to = min(n, to+step)
	}
	i := from + sort.Search(to-from, func(i int) bool { return at(from+i) >= key })
	if i >= n || at(i) != key {
		return posting{}, nil
	}
	ref := binary.LittleEndian.Uint32(x.refs[4*i:])
	if ref&direct != 0 {
		return posting{n: 1, one: uint16(ref)}, nil
	}
	begin := 2 * int(ref)
	if begin+2 > len(x.postings) {
		return posting{}, damaged("a key leads out of the index")
	}
	p := posting{n: int(binary.LittleEndian.Uint16(x.postings[begin:])) + 1}
	length := 2 * p.n
	if p.n > bitmapFrom {
		length = bitmapBytes
	}
	if begin+2+length > len(x.postings) || p.n > x.size {
		return posting{}, damaged("a posting leads out of the index")
	}
	set := x.postings[begin+2:][:length]
	if p.n > bitmapFrom {
		p.bits = set
	} else {
		p.raw = set
	}
	return p, nil
}

// encodeIndex makes an index file.
func encodeIndex(b *builder, ids []uint64, base, proof uint64) []byte {
	keys := b.sorted()
	filter := newFilter(len(ids))
	for _, id := range ids {
		filterAdd(filter, id)
	}
	var names, postings []byte
	for _, list := range [][]string{b.paths.Terms, b.paths.Words, b.types} {
		names = appendNames(names, list)
	}
	refs := make([]byte, 0, 4*len(keys))
	var set bitset
	for _, k := range keys {
		p := b.posting(k)
		if p.n == 1 {
			refs = binary.LittleEndian.AppendUint32(refs, direct|uint32(p.one))
			continue
		}
		refs = binary.LittleEndian.AppendUint32(refs, uint32(len(postings)/2))
		postings = binary.LittleEndian.AppendUint16(postings, uint16(p.n-1))
		if p.n > bitmapFrom {
			set.clear()
			set.add(&p)
			for _, word := range set {
				postings = binary.LittleEndian.AppendUint64(postings, word)
			}
			continue
		}
		for _, n := range p.list {
			postings = binary.LittleEndian.AppendUint16(postings, n)
		}
	}
	out := make([]byte, 0, indexHeader+len(filter)+8*len(keys)+len(refs)+len(postings)+len(names)+4)
	out = append(out, indexMagic...)
	out = binary.LittleEndian.AppendUint64(out, base)
	out = binary.LittleEndian.AppendUint64(out, proof)
	for _, n := range []int{b.size(), len(keys), len(filter), len(names), len(postings)} {
		out = binary.LittleEndian.AppendUint32(out, uint32(n))
	}
	out = append(out, make([]byte, indexHeader-len(out))...)
	out = append(out, filter...)
	for _, k := range keys {
		out = binary.LittleEndian.AppendUint64(out, k)
	}
	out = append(out, refs...)
	out = append(out, postings...)
	out = append(out, names...)
	return binary.LittleEndian.AppendUint32(out, checksum(out))
}

func writeIndex(path string, data []byte) error {
	return durable.WriteFile(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

func appendNames(to []byte, list []string) []byte {
	to = binary.AppendUvarint(to, uint64(len(list)))
	for _, s := range list {
		to = binary.AppendUvarint(to, uint64(len(s)))
		to = append(to, s...)
	}
	return to
}

func cutNames(b []byte) (list []string, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)) {
		return nil, b, false
	}
	b = b[used:]
	for range n {
		length, used := binary.Uvarint(b)
		if used <= 0 || length > uint64(len(b)-used) {
			return nil, b, false
		}
		list = append(list, string(b[used:][:length]))
		b = b[used+int(length):]
	}
	return list, b, true
}
