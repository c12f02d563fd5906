package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
)

type deadCmd struct {
	List   deadListCmd   `cmd:"" help:"List dead letters, oldest first."`
	Show   deadShowCmd   `cmd:"" help:"Show one dead letter whole."`
	Replay deadReplayCmd `cmd:"" help:"Give dead letters to their stage again."`
	Delete deadDeleteCmd `cmd:"" help:"Delete dead letters for good."`
}

func (deadCmd) Help() string {
	return `A dead letter is an item that could not be worked on, with the reason. It is
kept until it is replayed or deleted.

Example:
  epmesh dead list --stage analysis`
}

type deadListCmd struct {
	reachFlags
	JSON  bool   `name:"json" help:"Print JSON, one dead letter a line, without bodies."`
	Stage string `name:"stage" placeholder:"STAGE" help:"Only those of this stage: input, parse, draft, analysis, ..."`
	From  uint64 `name:"from" placeholder:"N" help:"Only those from this sequence on."`
	Limit int    `name:"limit" placeholder:"N" help:"At most N."`
}

func (deadListCmd) Help() string {
	return `Examples:
  epmesh dead list
  epmesh dead list --stage parse --json | jq -r .reason | sort | uniq -c`
}

func (c *deadListCmd) Run(a *app) error {
	if c.Limit < 0 {
		return usagef("--limit %d: want 1 or more", c.Limit)
	}
	b, _, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	list := deadTable{w: a.stdout, width: width(a.stdout)}
	shown, more := 0, uint64(0)
	err = b.DeadLetters(a.ctx, bridge.DeadFilter{Stage: c.Stage, From: c.From}, func(d bridge.DeadLetter) bool {
		if c.Limit > 0 && shown == c.Limit {
			more = d.Sequence
			return false
		}
		shown++
		if c.JSON {
			err := json.NewEncoder(a.stdout).Encode(letter(d))
			list.err = errors.Join(list.err, err)
		} else {
			list.row(d)
		}
		return list.err == nil
	})
	switch {
	case err != nil:
		return err
	case list.err != nil:
		return list.err
	case more > 0:
		complain(a.stderr, fmt.Sprintf("there are more: go on with --from %d", more))
	case shown == 0 && !c.JSON:
		complain(a.stderr, "no dead letters")
	}
	return nil
}

// deadTable writes rows as they come: there may be very many.
type deadTable struct {
	w      io.Writer
	width  int
	headed bool
	err    error
}

const deadRow = "%8s  %-19s  %-12s  %-14s  %8s  %s"

func (t *deadTable) row(d bridge.DeadLetter) {
	if !t.headed {
		t.headed = true
		t.line(fmt.Sprintf(deadRow, "SEQUENCE", "TIME", "STAGE", "PLUGIN", "ATTEMPTS", "REASON"))
	}
	plugin := d.Plugin
	if plugin == "" {
		plugin = "-"
	}
	t.line(fmt.Sprintf(deadRow, fmt.Sprint(d.Sequence), d.Time.Local().Format(time.DateTime), d.Stage, plugin, fmt.Sprint(d.Attempts), d.Reason))
}

func (t *deadTable) line(text string) {
	_, err := fmt.Fprintln(t.w, fit(text, t.width))
	t.err = errors.Join(t.err, err)
}

type deadShowCmd struct {
	Sequence uint64 `arg:"" help:"The dead letter's sequence, as dead list shows it."`
	reachFlags
	JSON bool `name:"json" help:"Print one line of JSON."`
	Raw  bool `name:"raw" help:"Write the item's stored bytes and nothing else."`
}

func (deadShowCmd) Help() string {
	return `Examples:
  epmesh dead show 17
  epmesh dead show 17 --raw > item.bin`
}

func (c *deadShowCmd) Run(a *app) error {
	if c.JSON && c.Raw {
		return usagef("--json and --raw exclude each other")
	}
	b, _, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	d, err := b.DeadLetter(a.ctx, c.Sequence)
	switch {
	case err != nil:
		return err
	case c.Raw:
		_, err = a.stdout.Write(d.Body)
	case c.JSON:
		err = json.NewEncoder(a.stdout).Encode(wholeLetter(d))
	default:
		_, err = io.WriteString(a.stdout, letterText(wholeLetter(d)))
	}
	return err
}

// letterText is a dead letter for people.
func letterText(l letterJSON) string {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, printable(value))
		}
	}
	field("sequence", fmt.Sprint(l.Sequence))
	field("time", l.Time.Local().Format(time.RFC3339))
	if l.Received != nil {
		field("received", l.Received.Local().Format(time.RFC3339))
	}
	field("stage", at(l.Stage, l.Plugin))
	field("node", l.Node)
	field("attempts", fmt.Sprint(l.Attempts))
	field("reason", l.Reason)
	field("consumer", l.Consumer)
	field("subject", l.Subject)
	field("item", l.Item)
	field("size", count(l.Size, "byte"))
	b.WriteByte('\n')
	if l.Undecodable != "" {
		fmt.Fprintf(&b, "%s; as it is, with escapes:\n%s\n", printable(l.Undecodable), l.Text)
		return b.String()
	}
	var body bytes.Buffer
	if json.Indent(&body, l.Body, "", "  ") != nil {
		body.Write(l.Body)
	}
	for line := range strings.Lines(body.String()) {
		b.WriteString(printable(strings.TrimRight(line, "\n")) + "\n")
	}
	return b.String()
}

type deadReplayCmd struct {
	Sequences []uint64 `arg:"" optional:"" name:"sequence" help:"The dead letters' sequences, as dead list shows them."`
	reachFlags
	All   bool   `name:"all" help:"Replay all that there are now."`
	Stage string `name:"stage" placeholder:"STAGE" help:"Replay all of this stage that there are now."`
}

func (deadReplayCmd) Help() string {
	return `An item goes only to the consumer that gave it up, and the dead letter is removed
once the item is stored again. What fails again becomes a new dead letter.

Examples:
  epmesh dead replay 17 18
  epmesh dead replay --stage correlation`
}

func (c *deadReplayCmd) Run(a *app) error {
	chosen := 0
	for _, given := range []bool{len(c.Sequences) > 0, c.All, c.Stage != ""} {
		if given {
			chosen++
		}
	}
	if chosen != 1 {
		return usagef("give the sequences to replay, or --stage, or --all")
	}
	b, _, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	sequences := c.Sequences
	if len(sequences) == 0 {
		// Listed before the first is replayed: one that dies again comes to the
		// end of the stream and would be replayed for ever.
		err := b.DeadLetters(a.ctx, bridge.DeadFilter{Stage: c.Stage}, func(d bridge.DeadLetter) bool {
			sequences = append(sequences, d.Sequence)
			return true
		})
		if err != nil {
			return err
		}
	}
	return each(a, "replayed", b, sequences, b.Replay)
}

type deadDeleteCmd struct {
	Sequences []uint64 `arg:"" name:"sequence" help:"The dead letters' sequences, as dead list shows them."`
	reachFlags
}

func (deadDeleteCmd) Help() string {
	return `Example:
  epmesh dead delete 17 18`
}

func (c *deadDeleteCmd) Run(a *app) error {
	b, _, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	return each(a, "deleted", b, c.Sequences, b.DeleteDead)
}

// each does something with each of these dead letters. One that fails does not
// keep it from the others.
func each(a *app, done string, b *bridge.Bridge, sequences []uint64, do func(context.Context, bridge.DeadLetter) error) error {
	failed := 0
	for _, seq := range sequences {
		d, err := b.DeadLetter(a.ctx, seq)
		if err == nil {
			err = do(a.ctx, d)
		}
		if interrupted(a.ctx) {
			return errors.New("interrupted: what was not yet " + done + " is as it was")
		}
		if err != nil {
			complain(a.stderr, err.Error())
			failed++
		}
	}
	if n := len(sequences) - failed; n > 0 || failed == 0 {
		fmt.Fprintf(a.stdout, "%s %s\n", done, count(n, "dead letter"))
	}
	if failed > 0 {
		return errSilent
	}
	return nil
}
