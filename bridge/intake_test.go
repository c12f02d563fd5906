package bridge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// heldMsg is a message as the server gives it; nothing settles it.
type heldMsg struct {
	jetstream.Msg
	subject string
	data    []byte
}

func (m heldMsg) Subject() string      { return m.subject }
func (m heldMsg) Data() []byte         { return m.data }
func (m heldMsg) Headers() nats.Header { return nil }

// clockIntake is an intake whose clock the test moves.
func clockIntake(most int, calls *int) (*intake, *time.Time) {
	now := time.Unix(1, 0)
	in := newIntake(most, func() int { return *calls })
	in.now = func() time.Time { return now }
	return in, &now
}

func putItems(in *intake, tenant string, size, items int) {
	in.put(heldMsg{subject: LogSubject(tenant, "d"), data: make([]byte, size)}, make([]Item, items))
}

// What is held follows what is done: about a second of work, and a large message
// ahead of the one that is worked on.
func TestIntakeHoldsASecond(t *testing.T) {
	for _, tc := range []struct {
		name               string
		calls, items       int
		rate               int // items a second
		leastHeld, maxHeld int
	}{
		{"slow, small messages", 4, 1, 200, 4, aheadMessages + 16},
		{"slow, large messages", 4, 256, 200, 256, 512},
		{"very slow, large messages", 4, 256, 20, 256, 256},
		{"quick, large messages", 128, 256, 100_000, 17 * 256, 40 * 256},
		{"each takes ten seconds, many at once", 128, 1, 12, 128, 128},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in, now := clockIntake(512, &tc.calls)
			var begun []taken
			held := 0
			fill := func() {
				for {
					if t, ok := in.next(); ok {
						begun = append(begun, t)
						continue
					}
					n := in.room()
					if n == 0 {
						return
					}
					for range n {
						putItems(in, "t", 100*tc.items, tc.items)
						held += tc.items
					}
				}
			}
			fill()
			for range 400 {
				if len(begun) == 0 {
					t.Fatal("nothing is begun")
				}
				*now = now.Add(time.Duration(tc.items) * time.Second / time.Duration(tc.rate))
				done := begun[0]
				begun = begun[1:]
				in.tried(done)
				in.end(done)
				held -= tc.items
				fill()
			}
			if held < tc.leastHeld || held > tc.maxHeld {
				t.Errorf("%d items are held at %d a second, not within %d and %d", held, tc.rate, tc.leastHeld, tc.maxHeld)
			}
			if in.bytes > aheadBytes || in.waiting > aheadMessages {
				t.Errorf("%d messages of %d bytes wait", in.waiting, in.bytes)
			}
		})
	}
}

// Of what was taken, the tenants have their turns by bytes.
func TestIntakeIsFair(t *testing.T) {
	calls := 1
	in, _ := clockIntake(1, &calls)
	for range 20 {
		putItems(in, "much", 100<<10, 1)
	}
	for range 4 {
		putItems(in, "little", 100<<10, 1)
	}
	for range 8 {
		putItems(in, "small", 50<<10, 1)
	}
	var order []string
	for {
		m, ok := in.next()
		if !ok {
			break
		}
		order = append(order, tenantToken(m.msg.Subject()))
		in.tried(m)
		in.end(m)
	}
	if len(order) != 32 || in.waiting != 0 || in.queued != 0 || in.bytes != 0 || len(in.tenants) != 0 {
		t.Fatalf("%d were begun, %+v are left", len(order), in)
	}
	// In the first 16 there are four of each of the larger and all of the small.
	share := map[string]int{}
	for _, name := range order[:16] {
		share[name]++
	}
	if share["little"] < 4 || share["small"] < 7 {
		t.Errorf("begun first: %v; in all %v", share, order)
	}
}

// What waits behind work that has become slow is given back, once.
func TestIntakeGivesBackWhatIsOverdue(t *testing.T) {
	calls := 1
	in, now := clockIntake(1, &calls)
	for i := range 3 {
		putItems(in, fmt.Sprint("t", i), 10, 1)
	}
	first, ok := in.next()
	if !ok {
		t.Fatal("nothing is begun")
	}
	*now = now.Add(4 * time.Second)
	putItems(in, "t0", 10, 1)
	if out := in.overdue(5 * time.Second); len(out) != 0 {
		t.Fatalf("%d are overdue too early", len(out))
	}
	*now = now.Add(2 * time.Second)
	if out := in.overdue(5 * time.Second); len(out) != 2 || in.waiting != 1 {
		t.Errorf("%d are overdue, %d wait", len(out), in.waiting)
	}
	if n := in.room(); n != 0 {
		t.Errorf("%d more would be taken before anything is done", n)
	}
	in.tried(first)
	in.end(first)
	putItems(in, "t9", 10, 1)
	second, ok := in.next()
	if !ok {
		t.Fatal("nothing more is begun")
	}
	in.tried(second)
	in.end(second)
	third, ok := in.next()
	if !ok {
		t.Fatal("nothing more is begun")
	}
	in.tried(third)
	in.end(third)
	if n := in.room(); n == 0 {
		t.Error("nothing would be taken though nothing is held")
	}
	putItems(in, "t8", 10, 1)
	if rest := in.close(); len(rest) != 1 || in.room() != 0 {
		t.Errorf("%d were left at the end, room for %d", len(rest), in.room())
	}
}

func TestTenantToken(t *testing.T) {
	for subject, want := range map[string]string{
		LogSubject("a", "b"): "a", EventSubject("a.c", "b"): "a%2ec", AlertSubject("", "b"): "%", DraftSubject("p", "a", "b"): "a",
		MessageSubject("a"): "", EngineSubject("a"): "",
	} {
		if got := tenantToken(subject); got != want || strings.Contains(got, ".") {
			t.Errorf("%s: %q, want %q", subject, got, want)
		}
	}
}
