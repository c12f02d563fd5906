package history

import (
	"fmt"
	"testing"
	"time"
)

func TestMemoryIsBounded(t *testing.T) {
	m := NewMemory(Limits{Events: 100, Bytes: 1 << 20, Age: time.Minute})
	if err := m.Watch(Paths{Terms: []string{"origin.ip"}}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	addMany(t, m, 0, 1000, now)
	if len(m.ring) != 100 || len(m.ids) != 100 || len(m.places) != 10 {
		t.Errorf("%d events, %d ids, %d values", len(m.ring), len(m.ids), len(m.places))
	}
	addMany(t, m, 1000, 1001, now.Add(2*time.Minute))
	if len(m.ring) != 1 || len(m.places) != 1 {
		t.Errorf("%d events are older than allowed", len(m.ring)-1)
	}
	m.limits.Bytes = 5000
	addMany(t, m, 2000, 2100, now.Add(2*time.Minute))
	if m.bytes > 5000 || len(m.ring) > 13 {
		t.Errorf("%d bytes in %d events", m.bytes, len(m.ring))
	}
	sum := 0
	for i := range m.ring {
		sum += m.ring[i].size
	}
	if sum != m.bytes {
		t.Errorf("%d bytes counted, %d are there", m.bytes, sum)
	}
	if err := m.Watch(Paths{Terms: []string{"action"}, Words: []string{"origin.ip"}}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, m, Criterion{Path: "action", Text: "add"}); n != len(m.ring) {
		t.Errorf("after watching other paths: %d of %d", n, len(m.ring))
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"": "[]", "--": "[]", "a": "[a]", "Failed password, for root!": "[failed password for root]", "snake_case x2": "[snake_case x2]",
		"GRÖSSE größe İx": "[grösse größe ix]", "\xff\xfeab\xff": "[ab]", "日本 語": "[日本 語]", "a\x00b": "[a b]",
	} {
		got := []string{}
		for w := range words(text) {
			got = append(got, w)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%q: %v, want %s", text, got, want)
		}
	}
}
