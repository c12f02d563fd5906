package pipeline

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	pb "github.com/epmesh/epmesh/proto"
)

// TestConcurrent runs one set from many goroutines; the race detector watches.
func TestConcurrent(t *testing.T) {
	set, _ := build(t, twoDynamics)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				raw := fmt.Sprintf(`{"a":%d,"b":"%s"}`, g, strings.Repeat("x", i))
				got := event(t, set, raw, mark)
				if gjson.Get(got, "log.a").Int() != int64(g) || len(gjson.Get(got, "log.b").String()) != i {
					t.Errorf("got %s for %s", got, raw)
				}
			}
		})
	}
	wg.Wait()
}

// The same where steps are dispatched, groks share matchers, conditions are
// left to CEL with its caches, and some of the runs are explained.
func TestConcurrentDispatch(t *testing.T) {
	text := "pipeline:\n  - dataTypes: [t]\n    steps:\n      - json: {source: raw}\n"
	for i := range 20 {
		text += fmt.Sprintf(`
      - grok: {source: log.b, patterns: [{fieldName: log.x%d, pattern: '\b\w+\b'}, {fieldName: log.rest, pattern: '.*'}], where: 'equals("log.a", %d)'}
      - add: {function: string, params: {key: log.n%d, value: x}, where: 'equals("log.a", "0%d") && regexMatch("log.b", "^(é|[a-z0-9])+ ")'}
      - add: {function: string, params: {key: log.m%d, value: x}, where: 'log.b.matches("^x") && contains(log.path, string(log.a)) && regexMatch(log.path, log.re)'}
`, i, i, i, i, i)
	}
	set, problems := build(t, text)
	if len(problems) > 0 || set.pipelines[0].dispatch == nil {
		t.Fatalf("%v, dispatch %v", problems, set.pipelines[0].dispatch)
	}
	raw := func(i int) string {
		return fmt.Sprintf(`{"a":%d,"b":"x%d y z","path":"log.b","re":"^x%d "}`, i%20, i, i%40)
	}
	var want []string
	for i := range 40 {
		want = append(want, event(t, linear(set), raw(i), nil))
	}
	if !gjson.Get(want[7], "log.x7").Exists() || !gjson.Get(want[7], "log.n7").Exists() || !gjson.Get(want[7], "log.m7").Exists() {
		t.Fatal(want[7])
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 40 {
				i = (i + 7*g) % 40
				if got := event(t, set, raw(i), nil); got != want[i] {
					t.Errorf("got %s, want %s", got, want[i])
				}
				if i%10 == g {
					if _, _, err := set.Explain(t.Context(), &pb.Log{DataType: "t", Raw: raw(i)}, nil); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
