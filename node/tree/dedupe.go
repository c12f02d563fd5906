package tree

func keyHash(key string) uint32 {
	h := uint32(len(key)) * 0x9E3779B1
	for i := range len(key) {
		h = h*31 + uint32(key[i])
	}
	return h ^ h>>13
}

// dedupe keeps the last value of each key, in the place of the first.
func dedupe(members []Node) []Node {
	if len(members) <= indexAbove {
		kept := members[:0]
	next:
		for _, m := range members {
			for i := range kept {
				if kept[i].key == m.key {
					kept[i] = m
					continue next
				}
			}
			kept = append(kept, m)
		}
		return kept
	}
	at := make(map[string]int, len(members))
	kept := members[:0]
	for _, m := range members {
		if i, ok := at[m.key]; ok {
			kept[i] = m
			continue
		}
		at[m.key] = len(kept)
		kept = append(kept, m)
	}
	return kept
}
