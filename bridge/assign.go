package bridge

import (
	"hash/fnv"
	"strconv"
)

// Assign says which node should serve each part of a consumer's keys: the one
// whose hash with the part is highest. So a node that comes takes parts to itself
// and moves none between others, and one that goes leaves its own and moves none
// either. There is no node for any part where there are no nodes.
func (c Consumer) Assign(nodes []string, parts int) []string {
	owners := make([]string, parts)
	for part := range owners {
		best := uint64(0)
		for _, node := range nodes {
			if w := weight(node, c.Name(), part); owners[part] == "" || w > best || w == best && node < owners[part] {
				owners[part], best = node, w
			}
		}
	}
	return owners
}

func weight(node, consumer string, part int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node + "\x00" + consumer + "\x00" + strconv.Itoa(part)))
	// FNV alone leaves similar inputs with similar high bits.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
