package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

type tapCmd struct {
	Stage string `arg:"" help:"What to look at: logs, drafts, events, alerts, messages or dead."`
	reachFlags
	JSON     bool          `name:"json" help:"Print protobuf-JSON, one item a line."`
	DataType string        `name:"data-type" placeholder:"TYPE" help:"Only items of this data type."`
	Tenant   string        `name:"tenant" placeholder:"ID" help:"Only items of this tenant."`
	Where    string        `name:"where" placeholder:"EXPR" help:"Only items for which this expression holds, as in a step's where."`
	Count    int           `name:"count" placeholder:"N" help:"End after N items."`
	Timeout  time.Duration `name:"timeout" placeholder:"TIME" help:"End after this time, such as 30s; with --count, fail if fewer came."`
}

func (tapCmd) Help() string {
	return `It shows what is stored from now on, takes nothing away and slows nothing down.

Examples:
  epmesh tap alerts
  epmesh tap events --data-type sshd --where 'equals("actionResult", "failed")'
  epmesh tap events --json --count 10 | jq .origin.ip`
}

func (c *tapCmd) check() error {
	switch {
	case !slices.Contains(bridge.TapStages, c.Stage):
		return usagef("there is no stage %q to tap; there are %s", c.Stage, strings.Join(bridge.TapStages, ", "))
	case c.Stage == "messages" && (c.Tenant != "" || c.DataType != ""):
		return usagef("messages have no tenant or data type to choose by; use --where, such as 'equals(\"topic\", \"incidents\")'")
	case c.Count < 0:
		return usagef("--count %d: want 1 or more", c.Count)
	case c.Timeout < 0:
		return usagef("--timeout %s: want a time such as 30s", c.Timeout)
	}
	return nil
}

func (c *tapCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	t := tap{tapCmd: c, out: bufio.NewWriter(a.stdout), width: width(a.stdout)}
	if c.Where != "" {
		var err error
		if t.where, err = expr.Compile(c.Where, nil); err != nil {
			return usagef("--where: %w", err)
		}
		for _, w := range t.where.Warnings() {
			complain(a.stderr, "--where: "+w)
		}
	}
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, stop := whileConnected(a.ctx, b, where)
	defer stop()
	tapping := ctx
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		tapping, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	ready := func() {
		if isTerminal(a.stderr) {
			complain(a.stderr, fmt.Sprintf("%s of %s from now on, Ctrl-C ends it", c.Stage, where))
		}
	}
	missed, err := b.Tap(tapping, bridge.TapFilter{Stage: c.Stage, Tenant: c.Tenant, DataType: c.DataType}, ready, t.take)
	err = errors.Join(err, t.err)
	if missed > 0 {
		complain(a.stderr, fmt.Sprintf("%s missed: they came faster than they could be shown; choose fewer with --data-type or --tenant", count(missed, "stored message")))
	}
	if t.failed > 0 {
		complain(a.stderr, fmt.Sprintf("--where failed on %s, the last time with: %v", count(t.failed, "item"), t.lastFailure))
	}
	switch gone := lost(ctx); {
	case err != nil:
		return fmt.Errorf("tap %s: %w", c.Stage, err)
	case gone != nil:
		return gone
	case t.shown < c.Count && interrupted(a.ctx):
		return fmt.Errorf("interrupted after %d of %s", t.shown, count(c.Count, "item"))
	case t.shown < c.Count:
		return fmt.Errorf("%d of %s came within %s", t.shown, count(c.Count, "item"), c.Timeout)
	}
	return nil
}

// tap shows items as they come.
type tap struct {
	*tapCmd
	out   *bufio.Writer
	width int
	where *expr.Program

	shown       int
	failed      int // evaluations of where
	lastFailure error
	err         error
}

// take shows one item, if it is wanted, and reports whether more are.
func (t *tap) take(i bridge.Tapped) bool {
	line, ok := t.line(i)
	if t.err != nil || !ok {
		return t.err == nil
	}
	t.out.Write(append(line, '\n'))
	// Each line at once: whoever reads it may wait for it.
	if t.err = t.out.Flush(); t.err != nil {
		return false
	}
	t.shown++
	return t.Count == 0 || t.shown < t.Count
}

// line is the item as it is shown; ok is false where it is not wanted.
func (t *tap) line(i bridge.Tapped) (line []byte, ok bool) {
	if i.Dead != nil {
		return t.dead(*i.Dead)
	}
	m, err := decode(i.Item.Subject, i.Item.ID, i.Item.Body)
	if err != nil {
		t.err = err
		return nil, false
	}
	if t.where == nil && !t.JSON {
		return []byte(t.human(i.Item, m)), true
	}
	var text []byte
	if t.JSON || needsJSON(m) {
		if text, t.err = wire.JSON(m); t.err != nil {
			return nil, false
		}
	}
	if t.where != nil && !t.wanted(document(m, text)) {
		return nil, false
	}
	if t.JSON {
		return text, true
	}
	return []byte(t.human(i.Item, m)), true
}

func (t *tap) human(i bridge.Item, m proto.Message) string {
	at := time.Now()
	if i.Received > 0 {
		at = time.Unix(0, i.Received)
	}
	return fit(itemLine(at, m), t.width)
}

func (t *tap) dead(d bridge.DeadLetter) ([]byte, bool) {
	if t.where == nil && !t.JSON {
		return []byte(fit(deadLine(d), t.width)), true
	}
	text, err := json.Marshal(wholeLetter(d))
	if err != nil {
		t.err = err
		return nil, false
	}
	if t.where != nil && !t.wanted(expr.FromJSON(text)) {
		return nil, false
	}
	if t.JSON {
		return text, true
	}
	return []byte(fit(deadLine(d), t.width)), true
}

// needsJSON reports whether a message's document is made of its JSON text.
func needsJSON(m proto.Message) bool {
	switch m.(type) {
	case *pb.Event, *pb.Alert, *pb.Handover:
		return false
	}
	return true
}

// document is what expressions look at: of a draft its text, of others the
// message.
func document(m proto.Message, text []byte) (expr.Doc, error) {
	switch m := m.(type) {
	case *pb.Event:
		return expr.FromEvent(m), nil
	case *pb.Alert:
		return expr.FromAlert(m), nil
	case *pb.Handover:
		return expr.FromJSON([]byte(m.GetDraft().GetLog()))
	}
	return expr.FromJSON(text)
}

// wanted evaluates the expression; one that fails does not hold.
func (t *tap) wanted(doc expr.Doc, err error) bool {
	holds := false
	if err == nil {
		holds, err = t.where.Eval(doc)
	}
	if err != nil {
		t.failed++
		t.lastFailure = err
	}
	return holds
}
