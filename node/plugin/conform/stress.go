package conform

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
