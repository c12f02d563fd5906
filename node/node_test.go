package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

const wholeWay = `
pipeline:
  - dataTypes: [app]
    steps:
      - json: {source: raw}
      - rename: {from: [log.ip], to: origin.ip}
      - drop: {where: 'equals("log.n", 13)'}
      - dynamic: {plugin: enricher, params: {key: value}}
tenants:
  - {id: t1, name: First}
plugins:
  analysis: {order: [rules, second]}
  correlation: {order: [group]}
  notification: {order: [mail, stats]}
  stats: {topics: [enqueue_success, parsing_dropped]}
`

func TestTheWholeWay(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", wholeWay)
	n := start(t, dir)
	sockets := n.sockets()
	enricher := plugintest.Start(t, sockets, plugin.Parsing, "enricher", plugintest.Script{Set: map[string]string{"log.custom_status": "done"}})
	rules := plugintest.Start(t, sockets, plugin.Analysis, "rules", plugintest.Script{Alerts: 1, EOF: true})
	second := plugintest.Start(t, sockets, plugin.Analysis, "second", plugintest.Script{})
	group := plugintest.Start(t, sockets, plugin.Correlation, "group", plugintest.Script{})
	mail := plugintest.Start(t, sockets, plugin.Notification, "mail", plugintest.Script{})
	stats := plugintest.Start(t, sockets, plugin.Notification, "stats", plugintest.Script{})
	output := plugintest.Start(t, sockets, plugin.Output, "archive", plugintest.Script{})
	b := n.bridge()
	n.until(b, "all plugins served", func(s node.Status) bool {
		return !slices.ContainsFunc(s.Stages, func(st node.StageStatus) bool { return st.Waiting != "" })
	})

	const logs = 500
	n.send(someLogs("app", 0, logs)...)
	const events = logs - 1 // one is dropped
	for _, s := range []*plugintest.Server{enricher, rules, second, group} {
		wait(t, s, "every event", count(events))
	}
	wait(t, output, "events and alerts", count(2*events))
	seen := map[string]bool{}
	for _, m := range rules.Items() {
		e := m.(*pb.Event)
		seen[e.GetId()] = true
		if e.GetLog()["custom_status"].GetStringValue() != "done" || e.GetOrigin().GetIp() == "" || e.GetTenantName() != "First" || len(e.GetErrors()) != 0 {
			t.Fatalf("event %v", e)
		}
	}
	if len(seen) != events || seen["log-13"] {
		t.Errorf("%d different events; log-13 among them: %t", len(seen), seen["log-13"])
	}
	ids := map[string]bool{}
	for _, m := range group.Items() {
		a := m.(*pb.Alert)
		ids[a.GetId()] = true
		if a.GetTenantId() != "t1" || a.GetDataType() != "app" {
			t.Fatalf("alert %v", a)
		}
	}
	if len(ids) != events {
		t.Errorf("%d different alert ids of %d alerts", len(ids), events)
	}
	// A plugin may be handed a tally again; its messages then have the same ids.
	topics := map[string]map[string]bool{"enqueue_success": {}, "parsing_dropped": {}}
	wait(t, stats, "a message a log", func(items []proto.Message) bool {
		for _, m := range items {
			topics[m.(*pb.Message).GetTopic()][m.(*pb.Message).GetId()] = true
		}
		return len(topics["enqueue_success"])+len(topics["parsing_dropped"]) >= logs
	})
	if len(topics["enqueue_success"]) != events || len(topics["parsing_dropped"]) != 1 {
		t.Errorf("%d logs became events and %d were dropped", len(topics["enqueue_success"]), len(topics["parsing_dropped"]))
	}
	if mail.Calls() != 0 {
		t.Errorf("a plugin that did not ask for them got %d of the engine's messages", mail.Calls())
	}

	s := n.until(b, "at rest", func(s node.Status) bool {
		return !slices.ContainsFunc(s.Stages, func(st node.StageStatus) bool { return st.InFlight > 0 || st.Pending > 0 })
	})
	for _, st := range s.Stages {
		if st.In != st.Out+st.Dropped+st.Dead+st.Returned+st.InFlight {
			t.Errorf("%s does not balance: %+v", st.Consumer, st.Counts)
		}
		if st.Dead != 0 {
			t.Errorf("%s: %d dead", st.Consumer, st.Dead)
		}
	}
	if s.Input[0].Received != logs || s.Input[0].Stored != logs {
		t.Errorf("input %+v", s.Input[0])
	}
}

// A draft waits for a plugin that is not there, and nothing else waits for it.
func TestDraftWaitsForItsPlugin(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", wholeWay)
	n := start(t, dir)
	rules := plugintest.Start(t, n.sockets(), plugin.Analysis, "rules", plugintest.Script{})
	plugintest.Start(t, n.sockets(), plugin.Analysis, "second", plugintest.Script{})
	b := n.bridge()
	n.send(someLogs("app", 0, 10)...)
	n.send(someLogs("other", 100, 110)...)
	wait(t, rules, "what needs no plugin", count(10))
	s := n.until(b, "work waiting", func(s node.Status) bool {
		return slices.ContainsFunc(s.Stages, func(st node.StageStatus) bool { return st.Stage == "draft" && st.Pending > 0 && st.Waiting != "" })
	})
	for _, st := range s.Stages {
		if st.Dead > 0 || st.Retried > 0 {
			t.Errorf("%s: %+v", st.Consumer, st.Counts)
		}
	}
	plugintest.Start(t, n.sockets(), plugin.Parsing, "enricher", plugintest.Script{Set: map[string]string{"log.late": "yes"}})
	for _, m := range wait(t, rules, "what waited", count(20))[10:] {
		if e := m.(*pb.Event); e.GetLog()["late"].GetStringValue() != "yes" || e.GetLog()["n"].GetNumberValue() > 9 {
			t.Errorf("event %v", e)
		}
	}
}

// install puts a plugin where the node finds and starts it.
func install(t *testing.T, dir string, kind plugin.Kind, name string, script plugintest.Script) {
	t.Helper()
	spec := plugintest.Spec(kind, name, script)
	var text strings.Builder
	text.WriteString("#!/bin/sh\n")
	for _, kv := range spec.Env {
		key, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&text, "export %s='%s'\n", key, value)
	}
	fmt.Fprintf(&text, "exec '%s'\n", strings.Join(spec.Argv, "' '"))
	file := filepath.Join(dir, "plugins", name+".plugin")
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o750); err != nil {
		t.Fatal(err)
	}
}

// An item that kills its plugin ends in the dead letters; the rest of its batch,
// and of the plugin's other work, goes on.
func TestPoison(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", "plugins: {analysis: {order: [rules]}}\n")
	install(t, dir, plugin.Analysis, "rules", plugintest.Script{Poison: "log-7,", Alerts: 1})
	n := start(t, dir)
	b := n.bridge()
	logs := someLogs("app", 0, 200)
	logs[7].Raw = "log-7, poison"
	n.send(logs...)
	n.until(b, "all settled", func(s node.Status) bool {
		i := slices.IndexFunc(s.Stages, func(st node.StageStatus) bool { return st.Stage == "analysis" })
		return s.Stages[i].Out == 199 && s.Stages[i].Dead == 1
	})
	var dead []bridge.DeadLetter
	if err := b.DeadLetters(t.Context(), bridge.DeadFilter{}, func(d bridge.DeadLetter) bool { dead = append(dead, d); return true }); err != nil {
		t.Fatal(err)
	}
	var e pb.Event
	if len(dead) != 1 || proto.Unmarshal(dead[0].Body, &e) != nil || e.GetId() != "log-7" || dead[0].Plugin != "rules" || dead[0].Attempts != 3 {
		t.Errorf("dead letters %+v", dead)
	}
}

func TestPluginErrors(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", wholeWay)
	n := start(t, dir)
	b := n.bridge()
	plugintest.Start(t, n.sockets(), plugin.Parsing, "enricher", plugintest.Script{Code: codes.Unknown, Message: "no idea", Only: "log-3"})
	rules := plugintest.Start(t, n.sockets(), plugin.Analysis, "rules", plugintest.Script{Code: codes.InvalidArgument, Message: "will not do", Only: "log-4"})
	second := plugintest.Start(t, n.sockets(), plugin.Analysis, "second", plugintest.Script{Code: codes.Unavailable, Message: "busy", Only: "log-5"})
	n.send(someLogs("app", 0, 10)...)
	n.until(b, "settled", func(s node.Status) bool {
		done := int64(0)
		for _, st := range s.Stages {
			if st.Stage == "analysis" {
				done += st.Out + st.Dead
			}
		}
		return done == 20
	})
	for _, m := range rules.Items() {
		if e := m.(*pb.Event); e.GetId() == "log-3" && (len(e.GetErrors()) != 1 || !strings.Contains(e.GetErrors()[0], "no idea")) {
			t.Errorf("the enricher's error is not on the event: %v", e.GetErrors())
		}
	}
	reasons := map[string]string{}
	if err := b.DeadLetters(t.Context(), bridge.DeadFilter{}, func(d bridge.DeadLetter) bool {
		reasons[d.Plugin] = fmt.Sprintf("%d %s", d.Attempts, d.Reason)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(reasons["rules"], "1 ") || !strings.HasPrefix(reasons["second"], "3 ") || second.Calls() != 12 {
		t.Errorf("dead letters %q; second was called %d times", reasons, second.Calls())
	}
}

func TestReload(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", "plugins: {analysis: {order: [rules]}}\n")
	n := start(t, dir)
	b := n.bridge()
	rules := plugintest.Start(t, n.sockets(), plugin.Analysis, "rules", plugintest.Script{})
	n.send(someLogs("app", 0, 1)...)
	if e := wait(t, rules, "the first", count(1))[0].(*pb.Event); len(e.GetLog()) != 0 {
		t.Fatalf("event %v", e)
	}
	write(t, dir, "b.yaml", "pipeline:\n  - dataTypes: [app]\n    steps:\n      - json: {source: raw}\n")
	n.until(b, "reloaded", func(s node.Status) bool { return s.Config.Pipelines == 1 })
	n.send(someLogs("app", 1, 2)...)
	if e := wait(t, rules, "the second", count(2))[1].(*pb.Event); e.GetLog()["n"].GetNumberValue() != 1 {
		t.Fatalf("event %v", e)
	}
	write(t, dir, "c.yaml", "pipeline:\n  - dataTypes: 7\n")
	s := n.until(b, "refused", func(s node.Status) bool { return len(s.Config.Refused) > 0 })
	if !strings.Contains(s.Config.Refused[0], "c.yaml:2:") || s.Config.Pipelines != 1 {
		t.Errorf("config %+v", s.Config)
	}
	n.send(someLogs("app", 2, 3)...)
	if e := wait(t, rules, "the third", count(3))[2].(*pb.Event); e.GetLog()["n"].GetNumberValue() != 2 {
		t.Fatalf("the set before should go on: %v", e)
	}
}

func TestUnderscoresAreASetting(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", "plugins: {analysis: {order: [rules]}}\npipeline:\n  - dataTypes: [app]\n    steps:\n      - add: {function: string, params: {key: log.src_ip, value: x}}\n")
	n := start(t, dir, func(s *config.Settings) { s.Pipeline.KeepUnderscores = false })
	rules := plugintest.Start(t, n.sockets(), plugin.Analysis, "rules", plugintest.Script{})
	n.send(someLogs("app", 0, 1)...)
	if e := wait(t, rules, "the event", count(1))[0].(*pb.Event); e.GetLog()["srcip"] == nil {
		t.Errorf("event %v", e)
	}
}

func TestSecondNodeIsRefused(t *testing.T) {
	dir := shortdir.New(t)
	start(t, dir)
	err := node.Run(t.Context(), node.Options{Settings: settings(t, dir), Logger: hclog.NewNullLogger()})
	if err == nil || !strings.Contains(err.Error(), "another node") || !strings.Contains(err.Error(), "--work-dir") {
		t.Errorf("second node: %v", err)
	}
}

// What was stored and not worked on is there after a restart.
func TestRestart(t *testing.T) {
	dir := shortdir.New(t)
	write(t, dir, "a.yaml", "plugins: {analysis: {order: [rules]}}\n")
	n := start(t, dir)
	n.send(someLogs("app", 0, 50)...)
	n.stop()
	n = start(t, dir)
	rules := plugintest.Start(t, n.sockets(), plugin.Analysis, "rules", plugintest.Script{})
	wait(t, rules, "all of before", count(50))
	n.stop()
	if c := rules.Calls(); c != 50 {
		t.Errorf("%d calls", c)
	}
}
