package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node"
	"golang.org/x/term"
)

type topCmd struct {
	Every time.Duration `name:"every" placeholder:"TIME" default:"1s" help:"Pause between two looks (${default})."`
	Sort  string        `name:"sort" placeholder:"BY" default:"waiting" help:"Which consumers come first: those with the most waiting, the oldest, rate or latency, or by name along the way of the data (${default})."`
	Once  bool          `name:"once" help:"Show one frame, measured over --every, and end."`
	reachFlags
}

func (topCmd) Help() string {
	return `Ctrl-C ends it. Where standard output is no terminal, frames follow each other, with a
line between. Exit code 3 where no node answers.

Examples:
  epmesh top
  epmesh top --sort oldest
  epmesh top --once --every 10s`
}

// topWindow is what rates, latencies and advice are measured over at the most.
const topWindow = 10 * time.Second

// look is what nodes said at a time.
type look struct {
	at    time.Time
	nodes []node.Status
}

func (c *topCmd) Run(a *app) error {
	if c.Every < 100*time.Millisecond {
		return usagef("--every %s: want 100ms or more", c.Every)
	}
	if !slices.Contains(topSorts, c.Sort) {
		return usagef("--sort %s: want one of %s", c.Sort, strings.Join(topSorts, ", "))
	}
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, stop := whileConnected(a.ctx, b, where)
	defer stop()
	s := newScreen(a.stdout, c.Once)
	err = c.watch(ctx, a, b, where, s)
	if closed := s.close(); err == nil {
		err = closed
	}
	return err
}

func (c *topCmd) watch(ctx context.Context, a *app, b *bridge.Bridge, where string, s *screen) error {
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	var looks []look
	for {
		m, err := ask(ctx, b)
		now := time.Now()
		if gone := lost(ctx); gone != nil {
			return gone
		}
		switch {
		case interrupted(a.ctx):
			return nil
		case err != nil && (c.Once || b.Connected()):
			return err
		case err == nil && c.Once && len(m.Nodes) == 0:
			return noAnswer(where)
		case err == nil:
			looks = append(looks, look{now, m.Nodes})
			for len(looks) > 2 && now.Sub(looks[1].at) >= topWindow {
				looks = looks[1:]
			}
			if c.Once && len(looks) < 2 {
				break // there is nothing yet to compare with
			}
			columns, rows := s.size()
			if err := s.show(topText(m, adviseOver(looks), now, columns, rows, c.Sort)); err != nil {
				return err
			}
			if c.Once {
				return m.partial()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if interrupted(a.ctx) {
				return nil
			}
			return lost(ctx)
		}
	}
}

// adviseOver compares the last look with the first that is kept, with the headroom
// and the drain that autoscale has where nothing is said.
func adviseOver(looks []look) []advice {
	first, last := looks[0], looks[len(looks)-1]
	span := max(last.at.Sub(first.at), time.Millisecond)
	return advise(first.nodes, last.nodes, span, 0.3, 10*time.Minute)
}

const (
	// The terminal's other page, so that what was there before is there again
	// afterwards, and no cursor that jumps about.
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// screen shows frames, one over the other on a terminal and else one after the
// other. On a terminal it has to be closed.
type screen struct {
	w     io.Writer
	full  bool // the whole terminal is its own
	shown bool
	// size is how much of a frame there is room for; 0 rows for any number.
	size func() (columns, rows int)
}

func newScreen(w io.Writer, once bool) *screen {
	return &screen{w: w, full: isTerminal(w) && !once, size: func() (int, int) {
		if f, ok := w.(*os.File); ok && !once {
			if _, rows, err := term.GetSize(int(f.Fd())); err == nil {
				return width(w), rows
			}
		}
		return width(w), 0
	}}
}

func (s *screen) show(frame string) error {
	var b strings.Builder
	switch {
	case s.full:
		if !s.shown {
			b.WriteString(enterScreen)
		}
		b.WriteString(home)
		// Each line is written over the one before: clearing all would flicker.
		b.WriteString(strings.ReplaceAll(strings.TrimSuffix(frame, "\n"), "\n", clearLine+"\n"))
		b.WriteString(clearLine + clearBelow)
	case s.shown:
		b.WriteString("\n" + frame)
	default:
		b.WriteString(frame)
	}
	s.shown = true
	_, err := io.WriteString(s.w, b.String())
	return err
}

func (s *screen) close() error {
	if !s.full || !s.shown {
		return nil
	}
	s.shown = false
	_, err := fmt.Fprint(s.w, leaveScreen)
	return err
}
