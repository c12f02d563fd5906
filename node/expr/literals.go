package expr

// literals finds which of many texts stand in another, in one pass over it, in
// whatever case their letters of ASCII are. Each text stands for numbers. It is
// filled with add and then built; after that any number of goroutines may use
// it.
type literals struct {
	class   [256]uint16 // of each byte; 0 is all that stand in no text
	classes int
	next    []uint32  // state*classes + class
	found   [][]int32 // by state: the numbers of the texts that end there
	texts   map[string][]int32
	bytes   int
}

// maxStates bounds a table: 4 bytes for each class of bytes in it.
const maxStates = 1 << 15

// add takes a text in lower case; false where there is no room for it.
func (l *literals) add(text string, number int32) bool {
	if l.texts == nil {
		l.texts = map[string][]int32{}
	}
	if _, known := l.texts[text]; !known {
		if l.bytes+len(text) >= maxStates {
			return false
		}
		l.bytes += len(text)
	}
	l.texts[text] = append(l.texts[text], number)
	return true
}

// build makes the table, as Aho and Corasick have it, of what was added.
func (l *literals) build() {
	l.classes = 1
	for text := range l.texts {
		for i := range len(text) {
			if c := text[i]; l.class[c] == 0 {
				l.class[c] = uint16(l.classes)
				if 'a' <= c && c <= 'z' {
					l.class[c-'a'+'A'] = uint16(l.classes)
				}
				l.classes++
			}
		}
	}
	l.next = make([]uint32, l.classes, l.classes*(l.bytes+1))
	l.found = make([][]int32, 1, l.bytes+1)
	for text, numbers := range l.texts {
		at := 0
		for i := range len(text) {
			to := &l.next[at*l.classes+int(l.class[text[i]])]
			if *to == 0 {
				*to = uint32(len(l.found))
				at = len(l.found)
				l.found = append(l.found, nil)
				l.next = append(l.next, make([]uint32, l.classes)...)
				continue
			}
			at = int(*to)
		}
		l.found[at] = append(l.found[at], numbers...)
	}
	l.texts = nil

	// In order of depth: where a state has no way on, that of the longest end of
	// its text which is the beginning of another.
	fail := make([]uint32, len(l.found))
	var queue []uint32
	for c := range l.classes {
		if to := l.next[c]; to != 0 {
			queue = append(queue, to)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		back := fail[s]
		l.found[s] = append(l.found[s], l.found[back]...)
		for c := range l.classes {
			to := &l.next[int(s)*l.classes+c]
			elsewhere := l.next[int(back)*l.classes+c]
			if *to == 0 {
				*to = elsewhere
				continue
			}
			fail[*to] = elsewhere
			queue = append(queue, *to)
		}
	}
}

// find adds the numbers of the texts that stand in another to a set. It reports
// whether there are bytes in it that are no ASCII.
func (l *literals) find(text string, set []uint64) (beyond bool) {
	state, classes := 0, l.classes
	var all byte
	for i := range len(text) {
		c := text[i]
		all |= c
		state = int(l.next[state*classes+int(l.class[c])])
		for _, n := range l.found[state] {
			set[n>>6] |= 1 << (n & 63)
		}
	}
	return all >= 0x80
}
