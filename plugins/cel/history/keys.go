package history

import (
	"slices"
	"strings"

	"github.com/epmesh/epmesh/plugins/internal/fields"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/minio/highwayhash"
)

// secret is a store's key for its hashes. With it, nobody can send values that
// collide.
type secret [highwayhash.Size]byte

// The kinds of keys of an index.
const (
	ofID   = 'i'
	ofTerm = 't'
	ofWord = 'w'
)

// key is what stands in an index for a value of a path: 64 bits of a keyed hash.
// That two of a store's values have the same is less likely than a broken
// memory: one in 10^11 for a value that is looked up among 10^8.
func (s *secret) key(kind byte, path, text string, scratch *[]byte) uint64 {
	b := append((*scratch)[:0], kind)
	b = append(b, path...)
	b = append(b, 0)
	b = append(b, text...)
	*scratch = b
	return highwayhash.Sum64(b, s[:])
}

// typePath is the path that every index has, beside those that are watched.
const typePath = "dataType"

// keyer makes the keys of events for a set of paths. It is used by many
// goroutines at once.
type keyer struct {
	secret secret
	paths  Paths
	get    []getter // of Terms, then of Words
}

func newKeyer(s secret, p Paths) *keyer {
	k := &keyer{secret: s, paths: Paths{Terms: slices.Clone(p.Terms), Words: slices.Clone(p.Words)}}
	if !slices.Contains(k.paths.Terms, typePath) {
		k.paths.Terms = append(k.paths.Terms, typePath)
	}
	for _, path := range append(slices.Clone(k.paths.Terms), k.paths.Words...) {
		k.get = append(k.get, newGetter(path))
	}
	return k
}

// keys appends the keys of an event; the first is that of its id.
func (k *keyer) keys(e *pb.Event, to []uint64, scratch *[]byte) []uint64 {
	to = append(to, k.secret.key(ofID, "", e.Id, scratch))
	for i, path := range k.paths.Terms {
		for text := range texts(k.get[i](e)) {
			to = append(to, k.secret.key(ofTerm, path, text, scratch))
		}
	}
	for i, path := range k.paths.Words {
		for text := range texts(k.get[len(k.paths.Terms)+i](e)) {
			for word := range words(text) {
				to = append(to, k.secret.key(ofWord, path, word, scratch))
			}
		}
	}
	return to
}

// getter gives the value of one path, as fields.Get does.
type getter func(*pb.Event) any

// newGetter takes the short way to what rules ask for most.
func newGetter(path string) getter {
	text := func(get func(*pb.Event) string) getter {
		return func(e *pb.Event) any {
			if s := get(e); s != "" {
				return s
			}
			return nil
		}
	}
	switch path {
	case "dataType":
		return text((*pb.Event).GetDataType)
	case "action":
		return text((*pb.Event).GetAction)
	case "actionResult":
		return text((*pb.Event).GetActionResult)
	case "raw":
		return text((*pb.Event).GetRaw)
	case "origin.mac":
		return text(func(e *pb.Event) string { return e.GetOrigin().GetMac() })
	case "target.port":
		return func(e *pb.Event) any {
			if n := e.GetTarget().GetPort(); n != 0 {
				return float64(n)
			}
			return nil
		}
	case "origin.ip":
		return text(func(e *pb.Event) string { return e.GetOrigin().GetIp() })
	case "origin.user":
		return text(func(e *pb.Event) string { return e.GetOrigin().GetUser() })
	case "origin.host":
		return text(func(e *pb.Event) string { return e.GetOrigin().GetHost() })
	case "target.ip":
		return text(func(e *pb.Event) string { return e.GetTarget().GetIp() })
	case "target.user":
		return text(func(e *pb.Event) string { return e.GetTarget().GetUser() })
	case "target.host":
		return text(func(e *pb.Event) string { return e.GetTarget().GetHost() })
	}
	if key, ok := strings.CutPrefix(path, "log."); ok && !strings.Contains(key, ".") && key != "" {
		return func(e *pb.Event) any {
			if v := e.GetLog()[key]; v != nil {
				return v.AsInterface()
			}
			return nil
		}
	}
	return func(e *pb.Event) any { return fields.Get(e, path) }
}
