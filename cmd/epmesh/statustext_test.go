package main

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// mesh is two nodes with about everything that can be wrong.
func mesh(now time.Time) meshJSON {
	counts := bridge.Counts{In: 120, Out: 110, Dropped: 4, Dead: 1, InFlight: 5, Retried: 2}
	one := node.Status{
		Node: "edge-1", Version: "v0.1.0", Since: now.Add(-192 * time.Second), Ready: true, Durability: "stored means on three disks",
		Config:    node.ConfigStatus{Fingerprint: "a"},
		Addresses: node.Addresses{HTTP: "127.0.0.1:7480"},
		Plugins: []node.PluginStatus{
			{Name: "cel", Kind: "analysis", State: "live", Socket: &plugin.Status{Calls: 120, Failures: 1}},
			{Name: "syslog", State: "running", Process: &plugin.ProcessStatus{
				Listening: []plugin.Listening{{Network: "udp", Address: "127.0.0.1:5514"}}, Restarts: 2, LastExit: "exit status 1",
			}},
		},
		Input: []node.InputStatus{{Kind: "log", Streams: 2, Rate: 1234.5}, {Kind: "message", Streams: 1}},
		Stages: []node.StageStatus{
			{Stage: "parse", Consumer: "parse", Serving: true, Counts: counts, Rate: 12.34},
			{Stage: "analysis", Plugin: "counter", Consumer: "analysis-counter", Serving: true, Affinity: &node.AffinityStatus{Key: "origin.ip", Partitions: 40}},
		},
		Behind: []node.BehindStatus{
			{Consumer: "analysis-counter", Messages: 1, Items: 3, Oldest: now.Add(-time.Second)},
			{Consumer: "correlation-away", Messages: 9, Items: 120, Oldest: now.Add(-3 * time.Hour)},
			{Consumer: "keyed-analysis-counter", Messages: 4, Items: 30, Oldest: now.Add(-9 * time.Second)},
			{Consumer: "notification-gone", Messages: 3, Items: 3, Oldest: now.Add(-26 * time.Hour)},
			{Consumer: "parse", Messages: 14, Items: 500, Oldest: now.Add(-2 * time.Second)},
		},
	}
	two := node.Status{
		Node: "edge-2", Version: "v0.1.0", Since: now.Add(-50 * time.Hour), NotReady: []string{"cel: its socket is not there"},
		Durability: one.Durability,
		Config:     node.ConfigStatus{Fingerprint: "b", Refused: []string{"a.yaml:1:1: error: no"}, Warnings: []string{"b.yaml:2:1: warning: hm"}},
		Plugins:    []node.PluginStatus{{Name: "cel", Kind: "analysis", State: "unreachable", Socket: &plugin.Status{Reason: "permission denied"}}},
		Input:      []node.InputStatus{{Kind: "log"}},
		Stages: []node.StageStatus{
			{Stage: "parse", Consumer: "parse", Serving: true, Counts: counts, Rate: 100},
			{Stage: "analysis", Plugin: "counter", Consumer: "analysis-counter", Serving: true, Affinity: &node.AffinityStatus{Key: "origin.ip", Partitions: 20, Of: 64, Routing: true}},
			{Stage: "correlation", Plugin: "away", Consumer: "correlation-away"},
			{Stage: "analysis", Plugin: "cel", Consumer: "analysis-cel", Waiting: "for cel_analysis.sock", Counts: bridge.Counts{Newer: 1}, Pending: -1},
		},
	}
	m := meshJSON{
		Nodes: []node.Status{one, two},
		Presence: []bridge.NodePresence{
			{Presence: bridge.Presence{Node: "edge-1", Version: "v0.1.0"}, Live: true, Seen: now.Add(-time.Second)},
			{Presence: bridge.Presence{Node: "edge-3", Version: "v0.2.0"}, Live: true, Seen: now.Add(-4 * time.Second)},
			{Presence: bridge.Presence{Node: "edge-4", Version: "v0.0.9"}, Seen: now.Add(-25 * time.Minute)},
		},
		Streams: []bridge.StreamState{
			{Name: "EPMESH_LOG", Messages: 12, Bytes: 3 << 20, Replicas: 3, Stale: []bridge.StaleCopy{{Server: "nats-2", Behind: 40}, {Server: "nats-3", Away: true, Behind: 90}}},
			{Name: "EPMESH_EVENT", Messages: 7, Bytes: 512, MaxBytes: 1 << 30, Replicas: 3, Stale: []bridge.StaleCopy{{Server: "nats-2"}}},
			{Name: "EPMESH_DEAD", Bytes: 512, Replicas: 3, Missing: 1},
		},
	}
	m.join([]bridge.Pending{
		{Name: "notification-gone", Stage: "notification", Plugin: "gone", Stream: "EPMESH_MESSAGE", Messages: 3},
		{Name: "parse", Stage: "parse", Stream: "EPMESH_LOG", Messages: 12, Unacked: 2},
		{Name: "analysis-counter", Stage: "analysis", Plugin: "counter", Stream: "EPMESH_EVENT", Messages: 1},
		{Name: "keyed-analysis-counter", Stage: "analysis", Plugin: "counter", Stream: "EPMESH_KEYED", Messages: 3, Unacked: 1},
		{Name: "correlation-away", Stage: "correlation", Plugin: "away", Stream: "EPMESH_ALERT", Messages: 9},
	})
	return m
}

func TestMeshText(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := meshText(mesh(now), now, 110)
	golden(t, "testdata/status.golden", got)
	for line := range strings.Lines(meshText(mesh(now), now, 80)) {
		if strings.HasPrefix(line, "syslog") && len([]rune(line)) > 81 {
			t.Errorf("too wide: %q", line)
		}
	}
}

func TestJoin(t *testing.T) {
	m := mesh(time.Now())
	if diff := cmp.Diff([]string{"notification-gone"}, m.Orphaned); diff != "" {
		t.Error(diff)
	}
	parse := m.stage("parse")
	if parse == nil || parse.In != 240 || parse.Pending != 12 || parse.Unacked != 2 || len(parse.Nodes) != 2 || parse.Rate != 112.34 {
		t.Errorf("got %+v", parse)
	}
	if cel := m.stage("analysis-cel"); cel == nil || len(cel.Serving) != 0 || cel.Pending != -1 || cel.waiting() != 0 {
		t.Errorf("got %+v", cel)
	}
	// What waits in partitions waits for their plugin; it can be pruned by its name.
	if c := m.stage("analysis-counter"); c.Pending != 4 || c.Unacked != 1 || c.Items != 33 || time.Since(c.Oldest).Round(time.Second) != 9*time.Second || m.stage("keyed-analysis-counter") == nil {
		t.Errorf("got %+v", c)
	}
	if m.stage("nosuch") != nil {
		t.Error("found what is not there")
	}
}

// golden compares a text with a file, which -update writes anew.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got (go test -update writes it anew):\n%s", diff)
	}
}
