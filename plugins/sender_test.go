package plugins

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/hashicorp/go-hclog"
)

func testSender(dir string) SenderOptions {
	return SenderOptions{Name: "test", Dir: dir, Logger: hclog.NewNullLogger(), RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond}
}

func newTestInput(t *testing.T, o SenderOptions) *Input {
	t.Helper()
	in, err := NewInput(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		in.Close(ctx)
	})
	return in
}

func TestInputSendsInOrderAndFlushes(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	in := newTestInput(t, testSender(e.Dir))
	for n := range 5000 {
		if err := in.Send(t.Context(), &Log{Raw: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	raws := e.Raws()
	if len(raws) != 5000 {
		t.Fatalf("%d stored", len(raws))
	}
	for n, raw := range raws {
		if raw != fmt.Sprint(n) {
			t.Fatalf("log %d is %q", n, raw)
		}
	}
	if l := e.Stored()[0]; l.Id == "" || l.Timestamp == "" {
		t.Errorf("no id or timestamp: %v", l)
	}
	if err := in.Send(t.Context(), &Log{Raw: "late"}); !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v", err)
	}
}

func TestInputLosesNothingWhenStreamsBreak(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	in := newTestInput(t, testSender(e.Dir))
	const logs = 3000
	var order []int
	for n := range logs {
		if n%500 == 100 {
			// Whatever is on its way has come: the break is among what follows.
			if err := in.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			e.BreakAfter(50)
		}
		if n == 1700 {
			e.Stop()
			e.Start(t)
		}
		if err := in.SendFunc(t.Context(), &Log{Raw: fmt.Sprint(n)}, func() { order = append(order, n) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(e.Stored()); got != logs {
		t.Errorf("%d of %d stored", got, logs)
	}
	if len(order) != logs {
		t.Fatalf("%d of %d reported stored", len(order), logs)
	}
	for i, n := range order {
		if i != n {
			t.Fatalf("place %d was reported as %d", i, n)
		}
	}
	if e.Streams() < 7 {
		t.Errorf("%d streams: one and six breaks make seven at least", e.Streams())
	}
}

func TestInputWindow(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	e.Hold(true)
	o := testSender(e.Dir)
	o.Window = 10
	in := newTestInput(t, o)
	for range 10 {
		if err := in.Send(t.Context(), &Log{Raw: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := in.Send(ctx, &Log{Raw: "x"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the eleventh: %v", err)
	}
	if err := in.Flush(ctx); err == nil || !strings.Contains(err.Error(), "10 not stored") {
		t.Errorf("flush: %v", err)
	}
	e.Hold(false)
	if err := in.Send(t.Context(), &Log{Raw: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := in.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestInputWindowBytes(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	e.Hold(true)
	o := testSender(e.Dir)
	o.WindowBytes = 1000
	in := newTestInput(t, o)
	if err := in.Send(t.Context(), &Log{Raw: strings.Repeat("x", 5000)}); err != nil {
		t.Fatalf("one log always fits: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := in.Send(ctx, &Log{Raw: "x"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the second: %v", err)
	}
	e.Hold(false)
}

func TestInputSameIDTwice(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	in := newTestInput(t, testSender(e.Dir))
	var stored atomic.Int32
	for range 3 {
		if err := in.SendFunc(t.Context(), &Log{Id: "same", Raw: "x"}, func() { stored.Add(1) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := stored.Load(); n != 3 {
		t.Errorf("%d stored", n)
	}
}

func TestInputBeforeTheNode(t *testing.T) {
	dir := shortdir.New(t)
	in := newTestInput(t, testSender(dir))
	if err := in.Send(t.Context(), &Log{Raw: "early"}); err != nil {
		t.Fatal(err)
	}
	e := enginetest.New(t, dir)
	if err := in.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := e.Raws(); len(got) != 1 || got[0] != "early" {
		t.Errorf("stored %v", got)
	}
}

func TestInputRefuses(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	in := newTestInput(t, testSender(e.Dir))
	for name, log := range map[string]*Log{
		"nil":       nil,
		"empty":     {},
		"not UTF-8": {Raw: "a\xffb"},
		"source":    {Raw: "x", DataSource: "\xff"},
		"large":     {Raw: strings.Repeat("x", maxSend)},
	} {
		if err := in.Send(t.Context(), log); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := in.Send(t.Context(), &Log{Raw: strings.Repeat("x", maxSend-1000)}); err != nil {
		t.Error(err)
	}
	if err := in.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCloseSaysWhatIsLeft(t *testing.T) {
	dir := shortdir.New(t)
	in, err := NewInput(testSender(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Send(t.Context(), &Log{Raw: "x"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := in.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 not stored") {
		t.Errorf("close: %v", err)
	}
}

func TestNotifierStore(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	n, err := NewNotifier(testSender(e.Dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Store(t.Context(), &Message{Topic: "t", Message: "hello"}); err != nil {
		t.Fatal(err)
	}
	if m := e.Messages(); len(m) != 1 || m[0].Message != "hello" || m[0].Id == "" {
		t.Errorf("messages: %v", m)
	}
	if err := n.Send(t.Context(), &Message{}); err == nil {
		t.Error("a message without a topic was taken")
	}
	e.Hold(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.Store(ctx, &Message{Topic: "t"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("store while acks are held: %v", err)
	}
	e.Hold(false)
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func BenchmarkInput(b *testing.B) {
	e := enginetest.New(b, shortdir.New(b))
	in, err := NewInput(SenderOptions{Dir: e.Dir, Logger: hclog.NewNullLogger()})
	if err != nil {
		b.Fatal(err)
	}
	raw := strings.Repeat("x", 500)
	b.ReportAllocs()
	for b.Loop() {
		if err := in.Send(b.Context(), &Log{Raw: raw}); err != nil {
			b.Fatal(err)
		}
	}
	if err := in.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// Store returns when its logs are stored, whatever is on its way besides, and
// over a broken stream.
func TestInputStores(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	in := newTestInput(t, testSender(e.Dir))
	for round := range 3 {
		logs := make([]*Log, 100)
		for i := range logs {
			logs[i] = &Log{Raw: fmt.Sprint(round, i)}
		}
		if err := in.Store(t.Context(), logs...); err != nil {
			t.Fatal(err)
		}
		if n := len(e.Stored()); n != 100*(round+1) {
			t.Errorf("%d stored after round %d", n, round)
		}
		if in.Waiting() != 0 || !in.Connected() {
			t.Errorf("waiting %d, connected %v", in.Waiting(), in.Connected())
		}
	}
	if err := in.Store(t.Context()); err != nil {
		t.Error(err)
	}
	if err := in.Store(t.Context(), &Log{Raw: "x"}, &Log{}); err == nil || !strings.Contains(err.Error(), "log 2 of 2: raw is empty") {
		t.Errorf("an empty log: %v", err)
	}
	if n := len(e.Stored()); n != 300 {
		t.Errorf("%d stored: one of a set that cannot be sent", n)
	}
	away := newTestInput(t, testSender(shortdir.New(t)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := away.Store(ctx, &Log{Raw: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("no node: %v", err)
	}
	if away.Waiting() != 1 || away.Connected() {
		t.Errorf("no node: waiting %d, connected %v", away.Waiting(), away.Connected())
	}
}
