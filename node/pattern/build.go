package pattern

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

const (
	maxStates = 256
	maxWork   = 1 << 18 // instructions looked at to build one
)

// builder makes an automaton.
type builder struct {
	automaton
	prog    *syntax.Prog
	search  bool   // find a match anywhere
	asserts bool   // some instruction asks what stands before and behind
	reps    []rune // one character of each class, but for the end
	states  map[string]uint16
	lists   [][]uint32 // of states: what stood before, and the instructions
	step    uint32
	// By instruction, the step in which it was last followed or gone to.
	followed, gone []uint32
	work           int
}

// newAutomaton gives nil where the expression has none. With search it tells
// whether the expression matches anywhere, else what it matches at the start.
func newAutomaton(re *syntax.Regexp, search bool) *automaton {
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil
	}
	fixed := prog.StartCond()&syntax.EmptyBeginText != 0
	b := &builder{
		automaton: automaton{fixed: fixed}, prog: prog, search: search && !fixed,
		states: map[string]uint16{}, followed: make([]uint32, len(prog.Inst)), gone: make([]uint32, len(prog.Inst)),
	}
	if !b.classify() {
		return nil
	}
	width := int(b.end) + 1
	b.lists = [][]uint32{nil}
	b.next = make([]uint16, width)
	b.state([]uint32{textStart, uint32(prog.Start)})
	for state := 1; state < len(b.lists); state++ {
		for class := range width {
			next, ok := b.follow(b.lists[state], class)
			if !ok {
				return nil
			}
			b.next = append(b.next, next)
		}
	}
	done := b.automaton // without the builder
	done.next = slices.Clip(done.next)
	return &done
}

// What can stand before a place. Their order is that of before.
const (
	textStart uint32 = iota
	other
	word
	newline
)

var before = [...]rune{-1, ' ', 'a', '\n'}

func kind(r rune) uint32 {
	switch {
	case r == '\n':
		return newline
	case syntax.IsWordChar(r):
		return word
	}
	return other
}

// classify divides the characters into classes that no instruction tells
// apart; false where characters beyond ASCII are told apart.
func (b *builder) classify() bool {
	var border [utf8.RuneSelf + 1]bool
	mark := func(lo, hi rune) {
		border[min(lo, utf8.RuneSelf)] = true
		border[min(hi+1, utf8.RuneSelf)] = true
	}
	for i := range b.prog.Inst {
		switch inst := &b.prog.Inst[i]; inst.Op {
		case syntax.InstEmptyWidth:
			b.asserts = true
		case syntax.InstRuneAnyNotNL:
			mark('\n', '\n')
		case syntax.InstRune, syntax.InstRune1:
			if len(inst.Rune) == 1 { // perhaps with what differs by case
				for r, first := inst.Rune[0], true; first || r != inst.Rune[0]; r, first = unicode.SimpleFold(r), false {
					if !inst.MatchRune(r) {
						continue
					}
					if r >= utf8.RuneSelf {
						return false
					}
					mark(r, r)
				}
				continue
			}
			for i := 0; i < len(inst.Rune); i += 2 {
				lo, hi := inst.Rune[i], inst.Rune[i+1]
				if hi >= utf8.RuneSelf && (lo > utf8.RuneSelf || hi < unicode.MaxRune) {
					return false
				}
				mark(lo, hi)
			}
		}
	}
	if b.asserts {
		mark('0', '9')
		mark('A', 'Z')
		mark('_', '_')
		mark('a', 'z')
		mark('\n', '\n')
	}
	for r := range rune(utf8.RuneSelf) {
		if r == 0 || border[r] {
			b.reps = append(b.reps, r)
		}
		b.class[r] = uint8(len(b.reps) - 1)
	}
	b.high = uint8(len(b.reps))
	b.reps = append(b.reps, utf8.RuneSelf)
	b.end = uint8(len(b.reps))
	return true
}

// state is the number of a state.
func (b *builder) state(list []uint32) uint16 {
	key := make([]byte, 0, 4*len(list))
	for _, v := range list {
		key = binary.LittleEndian.AppendUint32(key, v)
	}
	n, ok := b.states[string(key)]
	if !ok {
		n = uint16(len(b.lists))
		b.states[string(key)] = n
		b.lists = append(b.lists, list)
	}
	return n
}

// follow is the entry for a state and a class; false where there is too much
// to do.
func (b *builder) follow(list []uint32, class int) (uint16, bool) {
	r := rune(-1)
	if class < len(b.reps) {
		r = b.reps[class]
	}
	b.step++
	f := follower{builder: b, r: r, flags: syntax.EmptyOpContext(before[list[0]], r), to: []uint32{other}}
	if b.asserts {
		f.to[0] = kind(r)
	}
	matched := false
	for _, pc := range list[1:] {
		if matched = f.add(pc); matched {
			break
		}
	}
	if b.search && r >= 0 {
		f.goTo(uint32(b.prog.Start))
	}
	entry := uint16(0)
	if len(f.to) > 1 {
		entry = b.state(f.to) << 1
	}
	if matched {
		entry |= 1
	}
	return entry, b.work <= maxWork && len(b.lists) <= maxStates
}

// follower goes from one state over one character.
type follower struct {
	*builder
	r     rune // -1 at the end
	flags syntax.EmptyOp
	to    []uint32
}

// add follows an instruction as far as the character, and reports whether the
// expression matches before it: what is less preferred does not count then.
func (f *follower) add(pc uint32) (matched bool) {
	if f.followed[pc] == f.step {
		return false
	}
	f.followed[pc] = f.step
	f.work++
	switch inst := &f.prog.Inst[pc]; inst.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return f.add(inst.Out) || f.add(inst.Arg)
	case syntax.InstCapture, syntax.InstNop:
		return f.add(inst.Out)
	case syntax.InstEmptyWidth:
		return syntax.EmptyOp(inst.Arg)&^f.flags == 0 && f.add(inst.Out)
	case syntax.InstMatch:
		return true
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		if f.r >= 0 && matchRune(inst, f.r) {
			f.goTo(inst.Out)
		}
	}
	return false
}

func (f *follower) goTo(pc uint32) {
	if f.gone[pc] != f.step {
		f.gone[pc] = f.step
		f.to = append(f.to, pc)
	}
}

// matchRune is Inst.MatchRune, which knows nothing of the shorter instructions.
func matchRune(inst *syntax.Inst, r rune) bool {
	switch inst.Op {
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return inst.MatchRune(r)
}
