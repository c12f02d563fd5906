package syslog

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/epmesh/epmesh/plugins"
	"github.com/google/uuid"
)

// identity makes the ids of one connection's messages. A message that comes again
// on another connection, because the sender did not learn that it was stored,
// shall get the id it had; two that are only alike shall get two.
//
// What tells a message from one that is alike is its header, as identifies
// says, and, for the same message twice on one connection, how often it was
// there before: a sender that repeats what it sent on a broken connection
// repeats both, in that order.
type identity struct {
	mode string
	seen [2]map[uuid.UUID]int // the last messages, in two generations
}

// recent is how many messages a generation of seen has.
const recent = 1024

// set gives the log its id, or leaves it to the kit to make one at random.
func (i *identity) set(l *plugins.Log) {
	if i.mode == "random" || i.mode == "auto" && !identifies(l.Raw) {
		return
	}
	h := sha256.New()
	var size [8]byte
	for _, text := range []string{l.DataType, l.TenantId, l.DataSource, l.Raw} {
		binary.BigEndian.PutUint64(size[:], uint64(len(text)))
		h.Write(size[:])
		h.Write([]byte(text))
	}
	id := uuid.NewSHA1(uuid.NameSpaceURL, append([]byte("epmesh-syslog:"), h.Sum(nil)...))
	n := i.seen[0][id]
	if n == 0 {
		n = i.seen[1][id]
	}
	if len(i.seen[0]) >= recent || i.seen[0] == nil {
		i.seen[0], i.seen[1] = make(map[uuid.UUID]int), i.seen[0]
	}
	i.seen[0][id] = n + 1
	if n > 0 {
		binary.BigEndian.PutUint64(size[:], uint64(n))
		id = uuid.NewSHA1(id, size[:])
	}
	l.Id = id.String()
}

// identifies reports whether a message's header tells it from others that say
// the same: a time with a fraction of a second, or a time and a sequence number
// (the structured data meta sequenceId of RFC 5424).
func identifies(msg string) bool {
	rest, ok := cutPriority(msg)
	if !ok {
		return false
	}
	if after, ok := strings.CutPrefix(rest, "1 "); ok {
		stamp, after, _ := strings.Cut(after, " ")
		if fraction(stamp) {
			return true
		}
		return len(stamp) >= len("2026-11-26T00:00:00Z") && sequenced(after)
	}
	after := afterTime(rest)
	return after != "" && fraction(strings.TrimSuffix(rest[:len(rest)-len(after)], " "))
}

// fraction reports whether a time ends, but for its zone, in a fraction. One of
// zeros alone was added by a relay to a time that had none.
func fraction(stamp string) bool {
	point := strings.LastIndexAny(stamp, ".,")
	if point <= 0 || !digits(stamp[point-1:point]) || !strings.Contains(stamp[:point], ":") {
		return false
	}
	end := point + 1
	for end < len(stamp) && digits(stamp[end:end+1]) {
		end++
	}
	return strings.Trim(stamp[point+1:end], "0") != ""
}

// sequenced looks for [meta sequenceId="..."] in the structured data that follows
// host, program, process and message id.
func sequenced(s string) bool {
	for range 4 {
		var ok bool
		if _, s, ok = strings.Cut(s, " "); !ok {
			return false
		}
	}
	for strings.HasPrefix(s, "[") {
		end := elementEnd(s)
		if end < 0 {
			return false
		}
		element := s[1:end]
		if after, ok := strings.CutPrefix(element, "meta "); ok {
			if at := strings.Index(" "+after, ` sequenceId="`); at >= 0 && at+len(` sequenceId="`) < len(after)+1 {
				return (" " + after)[at+len(` sequenceId="`)] != '"'
			}
		}
		s = s[end+1:]
	}
	return false
}

// elementEnd is where the "]" stands that ends an element of structured data; in
// a quoted value it does not.
func elementEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ']':
			if !quoted {
				return i
			}
		}
	}
	return -1
}
