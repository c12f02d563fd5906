package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Survive is what a log has to survive once it is acked.
type Survive struct {
	Crash      bool // the end of a process
	PowerLoss  bool // of all machines at once
	ServerLoss bool // of one server with its disk
}

// ErrDurability is the error of servers that cannot keep what is asked for.
var ErrDurability = errors.New("nats.durability cannot be kept here")

const (
	// syncAlways is a server's sync that is before each Ack.
	syncAlways = "always"
	// leastCopies survive the loss of one: of two there is no majority left.
	leastCopies = 3
	// presenceLook is how often it is looked whether a node still says what
	// contradicts.
	presenceLook = 500 * time.Millisecond
)

// footing is what the servers say of the streams that an acked log needs: those on
// its way, what plugins and leases remember of it, and the configuration.
type footing struct {
	replicas int    // the fewest
	few      string // a stream that has them
	loose    []loose
}

// loose is a stream that is not on disk at an Ack, and how it is kept.
type loose struct{ stream, how string }

func lasting() []string {
	var names []string
	for _, s := range streams {
		names = append(names, s.name)
	}
	for _, bucket := range []string{StateBucket, LeaseBucket, ConfigBucket} {
		names = append(names, "KV_"+bucket)
	}
	return names
}

// Sync is how the embedded server syncs: "always" or an interval; "" where there
// is none.
func (b *Bridge) Sync() string {
	switch s := b.opts.Server; {
	case s == nil:
		return ""
	case s.sync == 0:
		return syncAlways
	default:
		return s.sync.Round(time.Millisecond).String()
	}
}

// Durability says in one line what "stored" survives here, after Ensure. An error
// that is ErrDurability says what of Options.Survive does not hold. Streams are
// asked for; what an external server does with its disks cannot be, and is said to
// be so, or to be its operator's word. Other nodes are known by their presence: one
// that is not known yet contradicts nothing. say is to announce this one with what
// others may have against it, and is called before they are looked at, maybe again:
// so of two that start at once one at least sees the other. nil says nothing.
func (b *Bridge) Durability(ctx context.Context, say func(context.Context) error) (string, error) {
	var f footing
	err := b.patiently(ctx, func(ctx context.Context) (err error) {
		f, err = b.footing(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	others, err := b.contradicting(ctx, say)
	if err != nil {
		return "", err
	}
	if wrong := b.opts.Survive.against(f); len(wrong) > 0 {
		return "", fmt.Errorf("%w: %s", ErrDurability, strings.Join(wrong, "; "))
	}
	line := b.durability(f)
	for _, o := range others {
		line += fmt.Sprintf("; the server of node %s syncs every %s: a power loss takes what it stored after its last sync", o.Node, o.Sync)
	}
	return line + b.opts.Survive.promise(), nil
}

func (b *Bridge) footing(ctx context.Context) (footing, error) {
	var f footing
	for _, name := range lasting() {
		stream, err := b.js.Stream(ctx, name)
		if err != nil {
			return f, fmt.Errorf("stream %s: %w", name, err)
		}
		c := stream.CachedInfo().Config
		if f.few == "" || c.Replicas < f.replicas {
			f.replicas, f.few = c.Replicas, name
		}
		switch {
		case c.Storage == jetstream.MemoryStorage:
			f.loose = append(f.loose, loose{name, "kept in memory"})
		case c.PersistMode == jetstream.AsyncPersistMode:
			f.loose = append(f.loose, loose{name, "written after the Ack (persist_mode async)"})
		}
	}
	return f, nil
}

// against lists what of s the streams do not keep.
func (s Survive) against(f footing) (wrong []string) {
	if s.Crash || s.PowerLoss {
		for _, l := range f.loose {
			wrong = append(wrong, fmt.Sprintf("stream %s is %s, and %s is asked for: delete it once it is empty (nats stream rm %s), and the node makes it anew", l.stream, l.how, strings.Join(s.words(), ", "), l.stream))
		}
	}
	if s.ServerLoss && f.replicas < leastCopies {
		wrong = append(wrong, fmt.Sprintf("stream %s has %d of the %d replicas that the loss of a server takes, and server-loss is asked for: set nats.replicas: 3, with three servers at least", f.few, f.replicas, leastCopies))
	}
	return wrong
}

func (s Survive) words() (list []string) {
	for _, w := range []struct {
		asked bool
		word  string
	}{{s.Crash, "crash"}, {s.PowerLoss, "power-loss"}, {s.ServerLoss, "server-loss"}} {
		if w.asked {
			list = append(list, w.word)
		}
	}
	return list
}

// promise is what the line says of what is asked for.
func (s Survive) promise() string {
	if words := s.words(); len(words) > 0 {
		return "; nats.durability asks for " + strings.Join(words, ", ") + ", and that is kept"
	}
	return ""
}

// contradicting are the other nodes whose servers sync later than the Ack. It is
// an error if this node asks that logs outlive a power loss, or if this node's
// server syncs later and another asks so. What a node said before it was killed
// contradicts nothing: it counts once it is said again.
func (b *Bridge) contradicting(ctx context.Context, say func(context.Context) error) (late []NodePresence, err error) {
	if say == nil || !b.opts.Survive.PowerLoss && (b.Sync() == "" || b.Sync() == syncAlways) {
		say = func(context.Context) error { return nil } // nobody has anything against this one
	}
	first := map[string]time.Time{}
	for {
		var nodes []NodePresence
		err := b.patiently(ctx, func(ctx context.Context) (err error) {
			if err := say(ctx); err != nil {
				return err
			}
			nodes, err = b.Nodes(ctx)
			return err
		})
		if err != nil {
			return nil, err
		}
		late = nil
		var wrong, stale []string
		for _, n := range nodes {
			if !n.Live || n.Node == b.opts.Name {
				continue
			}
			if n.Sync != "" && n.Sync != syncAlways {
				late = append(late, n)
			}
			reason := b.clash(n)
			if reason == "" {
				continue
			}
			switch before, seen := first[n.Node]; {
			case !seen:
				first[n.Node] = n.Seen
				stale = append(stale, reason)
			case before.Equal(n.Seen):
				stale = append(stale, reason)
			default:
				wrong = append(wrong, reason)
			}
		}
		if len(wrong) > 0 {
			return nil, fmt.Errorf("%w: %s", ErrDurability, strings.Join(slices.Concat(wrong, stale), "; "))
		}
		if len(stale) == 0 {
			return late, nil
		}
		// A node that lives says it again, of any other it is forgotten.
		if err := sleep(ctx, presenceLook); err != nil {
			return nil, err
		}
	}
}

// clash is what another node's word has against this one's; "" for nothing.
func (b *Bridge) clash(n NodePresence) string {
	own := b.Sync()
	switch {
	case b.opts.Survive.PowerLoss && n.Sync != "" && n.Sync != syncAlways:
		return fmt.Sprintf("power-loss is asked for, and the server of node %s syncs every %s: set nats.sync: always there, or do not ask for it", n.Node, n.Sync)
	case n.PowerLoss && own != "" && own != syncAlways:
		return fmt.Sprintf("node %s asks for power-loss, and this node's nats.sync is %s: set nats.sync: always here, or do not ask for it there", n.Node, own)
	}
	return ""
}

func (b *Bridge) durability(f footing) string {
	line := b.stored(f.replicas)
	for _, l := range f.loose {
		line += fmt.Sprintf("; but stream %s is %s", l.stream, l.how)
	}
	if s := b.opts.Server; s != nil && s.leaf != nil {
		line += "; it goes on to the hub, at once or when the link is up, and is kept here until the hub has stored it"
	}
	return line
}

func (b *Bridge) stored(replicas int) string {
	s := b.opts.Server
	if s == nil {
		return external(replicas, b.opts.ExternalSync)
	}
	if s.cluster.on() && replicas > 1 {
		where := fmt.Sprintf("stored means on the disks of a majority of %d servers", replicas)
		survives := fmt.Sprintf("the loss of %d of them", (replicas-1)/2)
		if replicas == 2 {
			survives = "a crash of both, and not the loss of one"
		}
		if s.sync == 0 {
			return where + ", synced before the Ack: it survives " + survives + " and a power loss of all"
		}
		return fmt.Sprintf("%s, synced every %s: it survives %s; a power loss of all takes what came after the last sync", where, b.Sync(), survives)
	}
	disk := "this machine's"
	if s.cluster.on() {
		disk = "one server's, of the cluster,"
	}
	if s.leaf != nil {
		disk = "this edge's"
	}
	if s.sync == 0 {
		return "stored means on " + disk + " disk, synced before the Ack: it survives a crash and a power loss, not the loss of the disk"
	}
	return fmt.Sprintf("stored means written to %s file system, synced every %s: it survives a crash of the process; a power loss takes what came after the last sync", disk, b.Sync())
}

// external is the line of servers that cannot be asked when they sync.
func external(replicas int, word string) string {
	where := "stored means in a file of one external server: its loss is a loss"
	if replicas > 1 {
		where = fmt.Sprintf("stored means in files of a majority of %d external servers: it survives the loss of %d of them", replicas, (replicas-1)/2)
	}
	switch word {
	case "":
		return where + "; what a power loss takes is their sync_interval's to say"
	case syncAlways:
		return where + "; nats.external_sync states that they sync before the Ack, so that it survives a power loss: that is the operator's word, and not asked"
	}
	return where + fmt.Sprintf("; nats.external_sync states that they sync every %s, so that a power loss takes what came after: that is the operator's word, and not asked", word)
}
