package expr

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHostile compiles and evaluates expressions made to hurt, over a document
// with a large list and a long text: each ends, soon.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures how long a minute of hostile expressions takes")
	}
	items := strings.TrimSuffix(strings.Repeat("1,", 20_000), ",")
	d, err := FromJSON([]byte(`{"items":[` + items + `],"text":"` + strings.Repeat("x", 1<<20) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{
		"deep":           strings.Repeat("(", 100_000),
		"deep list":      strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + " == []",
		"deep not":       strings.Repeat("!", 60_000) + "true",
		"deep path":      "a" + strings.Repeat(".a", 30_000) + " == 1",
		"long and":       strings.Repeat("true && ", 8_000) + "true",
		"long list":      "1 in [" + strings.Repeat("0,", 30_000) + "1]",
		"long oneOf":     `oneOf("text", [` + strings.Repeat("0,", 30_000) + "1])",
		"long text":      `equals("text", "` + strings.Repeat("y", 65_000) + `")`,
		"loops":          "items.all(a, items.all(b, items.all(c, a + b + c > 0.0)))",
		"map":            "items.map(a, items.map(b, items)).size() > 0",
		"filter":         "items.filter(a, items.exists(b, b == 2.0)).size() > 0",
		"equal lists":    "items.exists(a, items == items + items)",
		"growing text":   "items.map(a, text + text + text).size() > 0",
		"growing list":   "items.all(a, (items + items + items).size() > 0)",
		"loop and match": `items.all(a, !regexMatch("text", "[^=]*(x?){500}y"))`,
		"match":          `text.matches("[^=]*(x?){500}y")`,
		"own match":      `regexMatch("text", "[^=]*(x?){900}y")`,
		"made pattern":   `regexMatch("text", text + text)`,
		"queries":        `exists("items.#(>0)#.#") && exists("*.*.*.*")`,
	} {
		t.Run(name, func(t *testing.T) {
			peak := watchHeap(t)
			start := time.Now()
			p, err := Compile(source, nil)
			compiled := time.Since(start)
			if err == nil {
				_, err = p.Eval(d)
			}
			took := time.Since(start)
			mib := peak() >> 20
			t.Logf("compiled in %v, all in %v, %d MiB: %s", compiled.Round(time.Millisecond), took.Round(time.Millisecond), mib, short(err))
			if mib > 768 {
				t.Errorf("took %d MiB", mib)
			}
			if took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func short(err error) string { return fmt.Sprintf("%.120v", err) }

// watchHeap begins to watch how large the heap is; what it returns ends that
// and tells the most that was seen.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	runtime.GC()
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		var peak uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
			select {
			case <-done:
				most <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 { close(done); return <-most }
}
