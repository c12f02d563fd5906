package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/epmesh/epmesh/bridge"
)

// topMesh is the mesh of the status, with what top shows besides.
func topMesh(now time.Time) (meshJSON, []advice) {
	m := mesh(now)
	m.Presence[0].Load = bridge.Load{CPU: 0.42, Memory: 93 << 20}
	return m, []advice{
		{Stage: "parse", Instances: 2, Needed: 3, Arrival: 1240, Done: 1100, Latency: 0.00213, Busy: 0.97, Waiting: 500},
		{Stage: "analysis", Plugin: "counter", Instances: 2, Needed: 1, Arrival: 10, Done: 10, Latency: 1.2345, Busy: 0.1},
	}
}

func TestTopText(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m, list := topMesh(now)
	got := topText(m, list, now, 120, 0, "waiting")
	golden(t, "testdata/top.golden", got)
}

// However small the terminal is, a frame keeps to it, and keeps names and what
// waits the longest.
func TestTopKeepsToTheTerminal(t *testing.T) {
	now := time.Now()
	for _, size := range [][2]int{{120, 50}, {80, 24}, {60, 20}, {40, 12}, {30, 12}} {
		m, list := topMesh(now)
		frame := topText(m, list, now, size[0], size[1], "waiting")
		lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, l := range lines {
			if utf8.RuneCountInString(l) > size[0] {
				t.Errorf("%v: %q", size, l)
			}
		}
		for _, word := range []string{"NODE", "PLUGIN", "WAITING", "edge-1", "500"} {
			if !strings.Contains(frame, word) {
				t.Errorf("%v: no %s in\n%s", size, word, frame)
			}
		}
	}
}

func TestTopSorts(t *testing.T) {
	now := time.Now()
	for by, want := range map[string]string{
		"waiting": "parse away counter gone cel", "oldest": "gone away counter parse cel", "rate": "parse counter", "latency": "counter parse",
		"name": "parse cel counter away gone",
	} {
		m, list := topMesh(now)
		var got []string
		for _, row := range topStages(m, list, now, by)[1:] {
			if row[1] == "" {
				row[1] = row[0]
			}
			got = append(got, row[1])
		}
		if text := strings.Join(got, " "); !strings.HasPrefix(text, want) {
			t.Errorf("by %s: %s", by, text)
		}
	}
}

// A terminal gets its own page back; anything else gets no escape codes.
func TestScreen(t *testing.T) {
	for _, full := range []bool{true, false} {
		var out bytes.Buffer
		s := newScreen(&out, false)
		s.full = full
		for _, frame := range []string{"a\nb\n", "c\n"} {
			if err := s.show(frame); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
		}
		want := "a\nb\n\nc\n"
		if full {
			want = enterScreen + home + "a\x1b[K\nb\x1b[K\x1b[J" + home + "c\x1b[K\x1b[J" + leaveScreen
		}
		if out.String() != want {
			t.Errorf("full %v: %q", full, out.String())
		}
	}
}
