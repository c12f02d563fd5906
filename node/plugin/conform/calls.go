package conform

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
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

// sizes sends the largest item that a node sends, and a larger one.
func (k *called) sizes() {
	for _, s := range []struct {
		what string
		size int
	}{{"4 MiB less 1 KiB, the most that a node sends by default", maxMessage - 1024}, {"6 MiB, as a node with a higher plugins.max_message sends", 6 << 20}} {
		item := k.items.sized("conform-large", s.size)
		began := time.Now()
		r, err := k.call(item)
		took := time.Since(began)
		if k.dead(err) {
			k.tell("size", Fail, "bound what is received, and answer an error to what is too large", "an item of %s ended the plugin: %s", s.what, k.fate())
			if !k.revive() {
				return
			}
			continue
		}
		switch code := status.Code(err); {
		case err == nil && r.size() > maxMessage && s.size < maxMessage:
			k.tell("size", OK, "", "an item of %s: answered with %d bytes within %s, which a node takes (up to 8 MiB)", s.what, r.size(), ms(took))
		case err == nil:
			k.tell("size", OK, "", "an item of %s: answered within %s", s.what, ms(took))
		case code == codes.ResourceExhausted || code == codes.InvalidArgument || code == codes.OutOfRange:
			st := OK
			if s.size < maxMessage {
				st = Warn
			}
			k.tell("size", st, "raise the receive limit of the server to 4 MiB at least", "an item of %s: refused, %s", s.what, words(err))
		case code == codes.DeadlineExceeded:
			k.tell("size", Fail, "answer large items too, if need be with an error", "an item of %s: no answer within %s", s.what, k.opts.Call)
		default:
			k.tell("size", Warn, "refuse what is too large with RESOURCE_EXHAUSTED or INVALID_ARGUMENT: a node tries again after other errors",
				"an item of %s: %s", s.what, words(err))
		}
	}
}

// concurrency makes many calls, as many at once as a node does.
func (k *called) concurrency() {
	type one struct {
		took time.Duration
		err  error
		mix  string
	}
	results := make([]one, many)
	next := make(chan int)
	var callers sync.WaitGroup
	began := time.Now()
	for range atOnce {
		callers.Go(func() {
			for i := range next {
				item := k.items.usual(fmt.Sprintf("conform-many-%d", i))
				start := time.Now()
				r, err := k.call(item)
				results[i] = one{took: time.Since(start), err: err}
				if err == nil {
					if w := judge(k.kind, item, r); w != nil && w.status == Fail {
						results[i].mix = w.seen
					}
				}
			}
		})
	}
	made := 0
	for made < many && k.ctx.Err() == nil && time.Since(began) < 2*k.opts.Call {
		next <- made
		made++
	}
	close(next)
	callers.Wait()
	lasted := time.Since(began)

	var times []time.Duration
	var failed []error
	timeouts, mixed := 0, ""
	for _, r := range results[:made] {
		times = append(times, r.took)
		if r.err != nil {
			failed = append(failed, r.err)
			if status.Code(r.err) == codes.DeadlineExceeded {
				timeouts++
			}
		}
		if r.mix != "" {
			mixed = r.mix
		}
	}
	if made == 0 {
		return
	}
	slices.Sort(times)
	figures := fmt.Sprintf("%d calls, %d at once: %.0f a second; p50 %s, p99 %s, max %s", made, atOnce,
		float64(made)/lasted.Seconds(), ms(times[made/2]), ms(times[min(made-1, made*99/100)]), ms(times[made-1]))
	switch {
	case len(failed) > 0 && k.dead(failed[0]):
		k.tell("concurrency", Fail, "protect what calls share", "%d calls at once ended the plugin: %s", atOnce, k.fate())
		k.revive()
	case timeouts > 0:
		k.tell("concurrency", Fail, "answer calls side by side: a node has up to 64 with a plugin at once", "%s; %d had no answer within %s", figures, timeouts, k.opts.Call)
	case mixed != "":
		k.tell("concurrency", Fail, "do not keep an item in a variable that calls share", "%s; answers went to other calls: %s", figures, mixed)
	case len(failed) == made:
		k.tell("concurrency", Note, "", "%s; all answered with an error, %s", figures, words(failed[0]))
	case len(failed) > 0:
		k.tell("concurrency", Fail, "protect what calls share", "%s; %d failed, such as %s", figures, len(failed), words(failed[0]))
	default:
		k.tell("concurrency", OK, "", "%s", figures)
	}
}

// cancel gives calls up, and then makes one that is not.
func (k *called) cancel() {
	var callers sync.WaitGroup
	for i := range atOnce {
		callers.Go(func() {
			// Some end before they begin, most while they are under way.
			ctx, cancel := context.WithTimeout(k.ctx, time.Duration(i%16)*time.Millisecond+time.Microsecond)
			defer cancel()
			// What a call that was given up answers is of no interest.
			_, _ = k.conn.callWithin(ctx, k.kind, k.items.usual(fmt.Sprintf("conform-given-up-%d", i)))
		})
	}
	callers.Wait()
	began := time.Now()
	_, err := k.call(k.items.usual("conform-after"))
	switch {
	case k.dead(err):
		k.tell("cancel", Fail, "expect a call to end while it is worked on", "%d calls that were given up ended the plugin: %s", atOnce, k.fate())
		k.revive()
	case status.Code(err) == codes.DeadlineExceeded:
		k.tell("cancel", Fail, "free what a call holds when its context ends", "after %d calls that were given up it answers no more", atOnce)
	default:
		k.tell("cancel", OK, "", "after %d calls that were given up the next was answered within %s", atOnce, ms(time.Since(began)))
	}
}

// odd sends what must not end a plugin.
func (k *called) odd() {
	answered, refused, died := 0, 0, 0
	list := k.items.odd()
	for _, o := range list {
		_, err := k.call(o.item)
		switch {
		case k.dead(err):
			died++
			k.tell("odd", Fail, "check what comes, and answer an error; a panic in a call must not end the process", "%s ended the plugin: %s", o.what, k.fate())
			if died == deaths || !k.revive() {
				return
			}
		case status.Code(err) == codes.DeadlineExceeded:
			k.tell("odd", Fail, "answer an error to what cannot be worked on", "%s was not answered within %s", o.what, k.opts.Call)
			return
		case notUTF8(err):
			k.tell("odd", Fail, "make every text that is answered valid UTF-8", "the answer to %s holds text that is not UTF-8", o.what)
		case err != nil:
			refused++
		default:
			answered++
		}
	}
	if err := k.bytes(); k.dead(err) {
		k.tell("odd", Fail, "use a gRPC library that answers an error to bytes it cannot read", "bytes that are no protobuf ended the plugin: %s", k.fate())
		k.revive()
		return
	} else if err == nil {
		answered++
	} else {
		refused++
	}
	if _, err := k.call(k.items.usual("conform-after-odd")); status.Code(err) == codes.DeadlineExceeded {
		k.tell("odd", Fail, "give up cleanly what cannot be worked on", "after them the usual item is not answered any more")
		return
	}
	if died == 0 {
		k.tell("odd", OK, "", "%d odd items: %d answered, %d refused with an error, still serving", answered+refused, answered, refused)
	}
}

// bytes sends a request that is no protobuf message.
func (k *called) bytes() error {
	ctx, cancel := context.WithTimeout(k.ctx, k.opts.Call)
	defer cancel()
	return sendBytes(ctx, k.conn.cc, k.kind, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffnot protobuf"))
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

// dead reports whether the plugin has ended, given the error of a call.
func (k *called) dead(err error) bool {
	if err == nil {
		return false
	}
	if code := status.Code(err); code != codes.Unavailable && code != codes.Internal && code != codes.Canceled && code != codes.Unknown {
		return false
	}
	if k.run != nil {
		// The connection may break before the process has ended.
		return status.Code(err) == codes.Unavailable && k.run.awaitExit(500*time.Millisecond) || k.run.hasExited()
	}
	conn, err := dialUnix(k.opts.Socket)
	if err != nil {
		return true
	}
	conn.Close()
	return false
}

// fate is how a plugin that is dead ended.
func (k *called) fate() string {
	if k.run == nil {
		return "the socket is not served any more"
	}
	return k.run.end().Text + k.lines.lastWords()
}

// revive has the plugin there again after it died, as a node would: it starts
// it, or waits for whoever does. Without success there is no conn any more.
func (k *called) revive() bool {
	k.conn.close()
	k.conn = nil
	path := k.opts.Socket
	if k.run != nil {
		k.run.end()
		r, err := k.launch()
		if err != nil {
			return false
		}
		k.run = r
		if _, _, ok := k.awaitServing(k.opts.Start); !ok {
			return false
		}
		path = k.socket(k.kind)
	}
	for deadline := time.Now().Add(k.opts.Start); time.Now().Before(deadline) && k.ctx.Err() == nil; time.Sleep(20 * poll) {
		if conn, err := dial(k.ctx, path, k.opts.Call); err == nil {
			k.conn = conn
			return true
		}
	}
	k.tell("revive", Fail, "whoever starts the plugin should start it again", "it is not served again within %s", k.opts.Start)
	return false
}
