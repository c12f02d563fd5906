package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

type statusCmd struct {
	reachFlags
	JSON  bool          `name:"json" help:"Print one line of JSON."`
	Watch bool          `name:"watch" help:"Show it again and again until Ctrl-C."`
	Every time.Duration `name:"every" placeholder:"TIME" default:"2s" help:"Pause between two looks with --watch (${default})."`
}

func (statusCmd) Help() string {
	return `Exit code 3 where no node answers.

Examples:
  epmesh status
  epmesh status --watch
  epmesh status --json | jq '.stages[] | {consumer, pending, rate}'`
}

func (c *statusCmd) Run(a *app) error {
	if c.Every < 100*time.Millisecond {
		return usagef("--every %s: want 100ms or more", c.Every)
	}
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, stop := whileConnected(a.ctx, b, where)
	defer stop()
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for {
		m, err := ask(ctx, b)
		if gone := lost(ctx); gone != nil {
			return gone
		}
		if interrupted(a.ctx) {
			return nil
		}
		if err == nil {
			err = c.show(a.stdout, m)
		}
		if err == nil && len(m.Nodes) == 0 && !c.Watch {
			err = noAnswer(where)
		}
		if err == nil && !c.Watch {
			err = m.partial()
		}
		if err != nil && (!c.Watch || b.Connected()) {
			return err
		}
		if !c.Watch {
			return nil
		}
		select {
		case <-tick.C:
		case <-a.ctx.Done():
			return nil
		case <-ctx.Done():
			return lost(ctx)
		}
	}
}

// clear empties a terminal and puts its cursor to the top.
const clear = "\x1b[H\x1b[2J\x1b[3J"

func (c *statusCmd) show(w io.Writer, m meshJSON) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(m)
	}
	text := meshText(m, time.Now(), width(w))
	switch {
	case c.Watch && isTerminal(w):
		text = clear + text
	case c.Watch:
		text += "\n"
	}
	_, err := fmt.Fprint(w, text)
	return err
}
