package conform

import (
	"context"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

const (
	// atOnce is how many calls a node has with a plugin (plugins.in_flight).
	atOnce = 64
	// many is how many calls are made to see what calls at once come to.
	many = 512
	// deaths is how often a plugin may die of odd items before they end.
	deaths = 3
)

// called is one socket of the plugin while its calls are checked.
type called struct {
	*checker
	kind  plugin.Kind
	conn  *conn
	items *items
}

// calls checks everything that calls alone can show.
func (c *checker) calls(kind plugin.Kind, conn *conn) {
	it, err := c.newItems(kind)
	if err != nil {
		c.tell("call", Skip, "", "%v", err)
		return
	}
	k := &called{checker: c, kind: kind, conn: conn, items: it}
	if !k.first() {
		return // what does not answer one call need not be asked more
	}
	for _, check := range []struct {
		name string
		make func()
	}{
		{"repeat", k.repeat},
		{"unknown", k.unknown},
		{"size", k.sizes},
		{"concurrency", k.concurrency},
		{"cancel", k.cancel},
		{"odd", k.odd},
		{"health", k.health},
	} {
		if c.ctx.Err() != nil {
			return
		}
		if !c.opts.wants(check.name) {
			continue
		}
		check.make()
		if k.conn == nil {
			return
		}
	}
	if k.conn != conn {
		k.conn.close()
	}
}

func (k *called) call(item proto.Message) (reply, error) { return k.conn.call(k.ctx, k.kind, item) }

// first is the first call, and what is to be said of its reply.
func (k *called) first() bool {
	item := k.items.usual("conform-1")
	began := time.Now()
	r, err := k.call(item)
	took := time.Since(began)
	if k.dead(err) {
		k.tell("call", Fail, "see its last words, and what it writes with --verbose", "the first call ended the plugin: %s", k.fate())
		return false
	}
	switch {
	case err == nil:
		k.tell("call", OK, "", "answered within %s: %s", ms(took), described(k.kind, item, r))
	case notUTF8(err):
		k.tell("call", Fail, "make every text that is answered valid UTF-8", "the answer holds text that is not UTF-8")
		return true
	case status.Code(err) == codes.DeadlineExceeded:
		k.tell("call", Fail, "answer each call, if need be with an error", "no answer within %s", k.opts.Call)
		return false
	case status.Code(err) == codes.Unimplemented:
		k.tell("call", Fail, "register the service plugins."+service(k.kind)+" of the contract", "%s", words(err))
		return false
	default:
		k.tell("call", Warn, "if the made-up item is not for it, give one that is with --sample FILE (and settings with --config)",
			"the usual item was answered with an error: %s", words(err))
		return true
	}
	if w := judge(k.kind, item, r); w != nil {
		k.tell("reply", w.status, w.cure, "%s", w.seen)
	} else {
		k.tell("reply", OK, "", "as the contract has it, %d bytes", r.size())
	}
	if k.kind == plugin.Output {
		_, err := k.call(k.items.alert)
		k.tell("call", OK, "", "alerts: %s", wordsOrOK(err))
	}
	return true
}

func service(kind plugin.Kind) string {
	return filepath.Base(filepath.Dir(methods[kind]))[len("plugins."):]
}

func wordsOrOK(err error) string {
	if err == nil {
		return "answered"
	}
	return words(err)
}

// repeat gives the same item twice.
func (k *called) repeat() {
	item := k.items.usual("conform-twice")
	before := 0
	if k.engine != nil {
		if k.kind == plugin.Correlation { // what the first call led to is not of these two
			k.engine.await(300*time.Millisecond, nil, func() bool { return len(k.engine.messages) > 0 })
		}
		before = len(k.engine.messageIDs())
	}
	a, errA := k.call(item)
	b, errB := k.call(item)
	ids, again := k.twice(before)
	cure := "let ids, times and everything else that is answered derive from the item, not from a clock or a random number: an item may come twice"
	switch {
	case (errA == nil) != (errB == nil):
		k.tell("repeat", Warn, cure, "the same item twice: %s, then %s", wordsOrOK(errA), wordsOrOK(errB))
	case errA == nil && difference(a, b) != "":
		k.tell("repeat", Warn, cure, "the same item twice was answered differently: %s", difference(a, b))
	case again:
		k.tell("repeat", OK, "", "the same item twice: the same answer, and messages of the same ids")
	case len(ids) > 1:
		k.tell("repeat", Warn, "derive the message's id from the alert's: the mesh knows repetitions by it",
			"the same item twice became two messages, %q and %q", short(ids[len(ids)-2]), short(ids[len(ids)-1]))
	default:
		k.tell("repeat", OK, "", "the same item twice, the same answer")
	}
}

// twice are the ids of the messages since, and whether one of them came again.
// Messages of calls before may be among them: they come when they come.
func (k *called) twice(since int) (ids []string, again bool) {
	if k.kind != plugin.Correlation || k.engine == nil {
		return nil, false
	}
	again = k.engine.await(500*time.Millisecond, nil, func() bool {
		seen := map[string]bool{}
		for _, m := range k.engine.messages[since:] {
			if seen[m.GetId()] {
				return true
			}
			seen[m.GetId()] = true
		}
		return false
	})
	return k.engine.messageIDs()[since:], again
}

// unknown sends a field that this version of the contract does not have.
func (k *called) unknown() {
	if k.kind != plugin.Parsing {
		return
	}
	item := k.items.usual("conform-unknown").(*pb.Transform)
	field := protowire.AppendString(protowire.AppendTag(nil, 9999, protowire.BytesType), "of a later version")
	item.Draft.ProtoReflect().SetUnknown(field)
	r, err := k.call(item)
	switch {
	case err != nil:
		k.tell("unknown", Warn, "take drafts with fields of a later version", "a draft with an unknown field was answered with %s", words(err))
	case len(r.draft.ProtoReflect().GetUnknown()) == 0:
		k.tell("unknown", Warn, "return the draft that came, changed, and do not copy field by field", "a field of a later version did not survive")
	default:
		k.tell("unknown", OK, "", "a field of a later version survives")
	}
}

// health asks for the gRPC health service, which no plugin needs.
func (k *called) health() {
	ctx, cancel := context.WithTimeout(k.ctx, k.opts.Call)
	defer cancel()
	r, err := healthpb.NewHealthClient(k.conn.cc).Check(ctx, &healthpb.HealthCheckRequest{})
	switch {
	case err == nil:
		k.tell("health", Note, "", "offers grpc.health.v1 and says %s", r.GetStatus())
	case status.Code(err) == codes.Unimplemented:
		k.tell("health", Note, "", "does not offer grpc.health.v1, which is optional")
	default:
		k.tell("health", Note, "", "grpc.health.v1: %s", words(err))
	}
}
