package history

import "math/bits"

// A filter tells of most ids at once that a segment does not have them: a Bloom
// filter whose bits for one key lie in one block of 64 bytes, so that asking all
// segments costs each one access to memory.

const (
	filterBlock = 64 // bytes
	filterBits  = 12 // for each key: about one in 200 that is not there seems to be
)

func newFilter(keys int) []byte {
	return make([]byte, filterBlock*((keys*filterBits+filterBlock*8-1)/(filterBlock*8)))
}

func filterAdd(f []byte, key uint64) {
	block := filterPart(f, key)
	for range 6 {
		block[key>>3&63] |= 1 << (key & 7)
		key >>= 9
	}
}

func filterHas(f []byte, key uint64) bool {
	if len(f) < filterBlock {
		return false
	}
	block := filterPart(f, key)
	for range 6 {
		if block[key>>3&63]&(1<<(key&7)) == 0 {
			return false
		}
		key >>= 9
	}
	return true
}

func filterPart(f []byte, key uint64) []byte {
	n, _ := bits.Mul64(key, uint64(len(f)/filterBlock))
	return f[n*filterBlock:][:filterBlock]
}
