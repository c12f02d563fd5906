package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
)

const (
	// activityEvery is how often the counts are shown.
	activityEvery = 5 * time.Second
	// reachPause is between two looks for the node's server.
	reachPause = 50 * time.Millisecond
	// repeatQuiet is how long a repeated alert must have been quiet to be shown
	// again.
	repeatQuiet = 10 * time.Second
	// settleWait is how long addresses that are still missing are waited for.
	settleWait = time.Second
)

// show tells on standard output what happens in a node of this process. It sees
// what any other program could see, through the node's server.
type show struct {
	cmd      *upCmd
	settings config.Settings
	width    int
	next     string // how a further command is given, with COMMAND in it

	mu    sync.Mutex // one line at a time
	out   io.Writer
	cases casebook
	told  map[string]time.Time // alerts that were shown, by what repeats have in common

	addresses chan node.Addresses // from ready to run
}

func newShow(c *upCmd, a *app, s config.Settings) *show {
	return &show{
		cmd: c, settings: s, width: width(a.stdout), out: a.stdout,
		next: nextCommand(os.Args[0], c.WorkDir), addresses: make(chan node.Addresses, 1),
	}
}

// nextCommand is what a user types to look at this node.
func nextCommand(self, workDir string) string {
	name := "epmesh"
	if strings.Contains(self, string(filepath.Separator)+"go-build") {
		name = "go run ./cmd/epmesh"
	} else if strings.ContainsRune(self, filepath.Separator) {
		name = self
	}
	if workDir == "" {
		return name + " COMMAND"
	}
	return name + " COMMAND --work-dir " + workDir
}

// ready is told by the node where it can be reached.
func (s *show) ready(at node.Addresses) { s.addresses <- at }

// run shows what happens until ctx ends. Alerts are watched for before anything
// can raise one, and shown once it has been said where the node listens.
func (s *show) run(ctx context.Context) {
	var taps sync.WaitGroup
	defer taps.Wait()
	b := s.reach(ctx)
	if b != nil {
		defer b.Close()
	}
	started := make(chan struct{})
	if b != nil && (s.cmd.Demo || !s.cmd.JSON) {
		taps.Go(func() { s.tap(ctx, b, "alerts", started) })
		taps.Go(func() { s.tap(ctx, b, "messages", started) })
		taps.Go(func() { s.incidents(ctx) })
	}
	select {
	case at := <-s.addresses:
		s.start(ctx, b, at)
		close(started)
	case <-ctx.Done():
		close(started)
		return
	}
	if b != nil && !s.cmd.JSON {
		s.activity(ctx, b)
	}
	<-ctx.Done()
}

// reach connects to the node's server as soon as it is there; nil where ctx has
// ended, or where there is no way to it.
func (s *show) reach(ctx context.Context) *bridge.Bridge {
	if s.settings.NATS.Listen == "" && s.settings.NATS.URL == "" && s.settings.NATS.Context == "" {
		return nil
	}
	for ctx.Err() == nil {
		// An access file that a killed node left behind is replaced soon.
		if b, _, err := reach(ctx, s.settings); err == nil {
			return b
		}
		select {
		case <-time.After(reachPause):
		case <-ctx.Done():
		}
	}
	return nil
}

// start says where the node listens.
func (s *show) start(ctx context.Context, b *bridge.Bridge, at node.Addresses) {
	durability := ""
	if b != nil {
		if n, ok := s.settled(ctx, b); ok {
			at, durability = n.Addresses, n.Durability
		}
	}
	u := where(s.settings, at)
	if s.cmd.JSON {
		s.print(u.line())
		return
	}
	s.print(u.text(s.next, durability))
	if b == nil {
		s.print("Alerts and counts are not shown, and commands cannot look: --nats has turned the server's address off.\n")
	}
}

// settled is how this node stands once its addresses are known. The node is
// ready when syslog is there over one of its two networks.
func (s *show) settled(ctx context.Context, b *bridge.Bridge) (node.Status, bool) {
	late := time.After(settleWait)
	for {
		n, ok := s.own(ctx, b)
		if ok && len(n.Addresses.Plugins["syslog"]) != 1 {
			return n, ok
		}
		select {
		case <-time.After(reachPause):
		case <-late: // there is but one
			return n, ok
		case <-ctx.Done():
			return n, false
		}
	}
}

// own is how this node stands.
func (s *show) own(ctx context.Context, b *bridge.Bridge) (node.Status, bool) {
	nodes, err := askNodes(ctx, b)
	if err != nil {
		return node.Status{}, false
	}
	for _, n := range nodes {
		if n.Node == s.settings.Node {
			return n, true
		}
	}
	return node.Status{}, false
}

// tap shows alerts as they come, and keeps them and the messages for incidents.
func (s *show) tap(ctx context.Context, b *bridge.Bridge, stage string, started <-chan struct{}) {
	for ctx.Err() == nil {
		_, err := b.Tap(ctx, bridge.TapFilter{Stage: stage}, nil, func(i bridge.Tapped) bool {
			<-started
			m, err := decode(i.Item.Subject, i.Item.ID, i.Item.Body)
			if err != nil || ctx.Err() != nil {
				return true
			}
			switch m := m.(type) {
			case *pb.Alert:
				now := time.Now()
				s.mu.Lock()
				s.cases.alert(m, now)
				show := s.cmd.JSON || s.fresh(m, now)
				s.mu.Unlock()
				if show {
					s.print(s.alert(m))
				}
			case *pb.Message:
				s.mu.Lock()
				s.cases.message(m, time.Now())
				s.mu.Unlock()
			}
			return true
		})
		if err != nil {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// fresh tells whether an alert says something new to who watches: a rule that
// holds for one event after the other is shown once, until it was quiet. The
// caller holds mu.
func (s *show) fresh(a *pb.Alert, now time.Time) bool {
	key := a.GetName() + "\x00" + cmp.Or(a.GetAdversary().GetIp(), sideName(a.GetAdversary()))
	last, ok := s.told[key]
	if s.told == nil || len(s.told) > maxCaseAlerts {
		s.told = map[string]time.Time{}
	}
	s.told[key] = now
	return !ok || now.Sub(last) > repeatQuiet
}

// incidents shows each incident once it is quiet.
func (s *show) incidents(ctx context.Context) {
	tick := time.NewTicker(incidentQuiet / 10)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.mu.Lock()
			due := s.cases.due(now)
			s.mu.Unlock()
			for _, c := range due {
				s.print(s.incident(c))
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *show) incident(c *caseFile) string {
	if !s.cmd.JSON {
		return c.text(s.width)
	}
	line, err := json.Marshal(map[string]*caseFile{"incident": c})
	if err != nil {
		return "" // cannot be: texts, numbers and times
	}
	return string(line)
}

func (s *show) alert(a *pb.Alert) string {
	if !s.cmd.JSON {
		return fit(itemLine(time.Now(), a), s.width)
	}
	text, err := wire.JSON(a)
	if err != nil {
		return ""
	}
	line, err := json.Marshal(map[string]json.RawMessage{"alert": text})
	if err != nil {
		return ""
	}
	return string(line)
}

// activity shows how much happens, as long as something does.
func (s *show) activity(ctx context.Context, b *bridge.Bridge) {
	tick := time.NewTicker(activityEvery)
	defer tick.Stop()
	before, began := totals{}, time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n, ok := s.own(ctx, b)
		if !ok {
			continue
		}
		at := time.Now()
		now := sum(n)
		if now != before {
			s.print(fit(activityLine(at, now, before, at.Sub(began)), s.width))
		}
		before, began = now, at
	}
}

// totals are what a node has counted since it began.
type totals struct{ logs, events, alerts, messages, dead int64 }

func sum(n node.Status) totals {
	var t totals
	for _, in := range n.Input {
		t.dead += int64(in.Dead)
		if in.Kind == "log" {
			t.logs += int64(in.Received)
		} else {
			t.messages += int64(in.Received)
		}
	}
	for _, s := range n.Stages {
		t.dead += s.Dead
		switch s.Stage {
		case "parse":
			t.events += s.Out
		case "analysis":
			t.alerts += s.Produced
		}
	}
	return t
}

func activityLine(at time.Time, now, before totals, took time.Duration) string {
	rate := func(a, b int64) string { return rateText(float64(a-b) / max(took.Seconds(), 0.001)) }
	return fmt.Sprintf("%s  %s logs/s, %s events/s; in all %s, %s, %s, %s", at.Local().Format(time.TimeOnly),
		rate(now.logs, before.logs), rate(now.events, before.events),
		count(now.events, "event"), count(now.alerts, "alert"), count(now.messages, "message"), count(now.dead, "dead letter"))
}

func (s *show) print(line string) {
	if line == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, line)
}
