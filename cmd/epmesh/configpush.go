package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node"
)

// pushFlags are those of commands that write a revision.
type pushFlags struct {
	Message string        `name:"message" short:"m" placeholder:"TEXT" help:"Why, for the history."`
	Expect  *uint64       `name:"expect" placeholder:"N" help:"Push only if N is the current revision, 0 meaning none."`
	Wait    time.Duration `name:"wait" default:"30s" placeholder:"TIME" help:"How long to wait for what nodes make of it (${default}); 0 does not wait."`
	Prune   bool          `name:"prune" help:"Once all nodes run it, delete the consumers of plugins that it no longer names, and what is kept for them."`
	JSON    bool          `name:"json" help:"Print one line of JSON."`
}

type configPushCmd struct {
	Dir string `arg:"" help:"A folder with pipeline/ and rules/ in it, such as a work dir."`
	pushFlags
	reachFlags
}

func (configPushCmd) Help() string {
	return `Everything is checked first as epmesh check does; an error refuses it, and nothing is
pushed. Exit code 1 where a node refuses the revision or has not taken it in time; the
revision stays, and the other nodes run it.

Examples:
  epmesh config push ./mesh -m "ssh rules"
  epmesh config push ./mesh --expect 7 --wait 1m`
}

// pushedJSON is what push and rollback print.
type pushedJSON struct {
	Revision bridge.Revision `json:"revision"`
	// Unchanged: the current revision has this content already; none was written.
	Unchanged bool         `json:"unchanged"`
	Nodes     []nodeAnswer `json:"nodes"`
	Orphaned  []orphan     `json:"orphaned"`
}

// nodeAnswer is what a node made of a revision: it is applied, refused, failed
// (it tries again) or silent.
type nodeAnswer struct {
	Node    string   `json:"node"`
	Answer  string   `json:"answer"`
	Reasons []string `json:"reasons,omitempty"`
}

// orphan is a consumer of a plugin that the configuration does not name.
type orphan struct {
	Consumer string `json:"consumer"`
	Waiting  int64  `json:"waiting"` // stored messages kept for it
	Pruned   bool   `json:"pruned"`
}

func (c *configPushCmd) Run(a *app) error {
	if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
		return usagef("%s is no folder: name one with pipeline/ and rules/ in it", c.Dir)
	}
	bundle, err := folderBundle(c.Dir)
	if err != nil {
		return err
	}
	if err := c.check(a); err != nil {
		return err
	}
	content, err := bundle.Encode()
	if err != nil {
		return err
	}
	b, _, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	base, err := b.CurrentRevision(a.ctx)
	if err != nil {
		return err
	}
	return c.pushFlags.push(a, b, base, bridge.Revision{}, content)
}

// check refuses what epmesh check calls an error, and what a node of this
// version would refuse.
func (c *configPushCmd) check(a *app) error {
	s, err := c.settings()
	if err != nil {
		return err
	}
	t := checked{strip: !s.Pipeline.KeepUnderscores}
	t.node(c.Dir, filepath.Join(c.Dir, "pipeline"), filepath.Join(c.Dir, "rules"))
	t.others = true // the nodes have the plugins, not this folder
	report := t.check(nil)
	for _, p := range append(report.Errors(), report.Warnings()...) {
		complain(a.stderr, findingLine(p))
	}
	if n := len(report.Errors()); n > 0 {
		return fmt.Errorf("nothing was pushed: %s has %s", c.Dir, count(n, "error"))
	}
	if reasons := node.Refusals(c.Dir, s.Pipeline.KeepUnderscores); len(reasons) > 0 {
		for _, r := range reasons {
			complain(a.stderr, r)
		}
		return fmt.Errorf("nothing was pushed: nodes would refuse %s", c.Dir)
	}
	return nil
}

// push writes content as the revision after base, waits for the nodes, and says
// what came of it.
func (f pushFlags) push(a *app, b *bridge.Bridge, base, next bridge.Revision, content []byte) error {
	if f.Expect != nil && *f.Expect != base.Number {
		return came(base, fmt.Sprintf("revision %d was expected", *f.Expect))
	}
	result := pushedJSON{Nodes: []nodeAnswer{}, Orphaned: []orphan{}}
	if sum := sha256.Sum256(content); base.Number > 0 && base.SHA256 == hex.EncodeToString(sum[:]) {
		result.Revision, result.Unchanged = base, true
	} else {
		next.Author, next.Message, next.Time = author(), f.Message, time.Now().UTC().Truncate(time.Second)
		r, err := b.PushRevision(a.ctx, base, next, content)
		if errors.Is(err, bridge.ErrConflict) {
			return came(r, "nothing was pushed")
		}
		if err != nil {
			return err
		}
		result.Revision = r
	}
	if !f.JSON {
		fmt.Fprintln(a.stdout, printable(result.headline()))
	}
	var err error
	if result.Nodes, err = f.await(a, b, result.Revision); err != nil {
		return err
	}
	if result.Orphaned, err = f.orphans(a.ctx, b, content, result.settled() && f.Wait > 0); err != nil {
		return err
	}
	if f.JSON {
		err = json.NewEncoder(a.stdout).Encode(result)
	} else {
		_, err = fmt.Fprint(a.stdout, result.text(f))
	}
	if err == nil && !result.settled() {
		return errSilent
	}
	return err
}

// came is the error of who comes second.
func came(r bridge.Revision, what string) error {
	if r.Number == 0 {
		return fmt.Errorf("%s, and none has been pushed yet", what)
	}
	text := r.Label() + " came first"
	if r.Message != "" {
		text += fmt.Sprintf(" (%s)", r.Message)
	}
	return fmt.Errorf("%s: %s: look at it with epmesh config diff, and push again", what, text)
}

// await waits until all nodes that are there have told what they made of it.
func (f pushFlags) await(a *app, b *bridge.Bridge, r bridge.Revision) ([]nodeAnswer, error) {
	answers := []nodeAnswer{}
	nodes, err := liveNodes(a.ctx, b)
	if err != nil || f.Wait == 0 {
		return answers, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, f.Wait)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		reports, err := b.RevisionReports(ctx)
		if err != nil && ctx.Err() == nil {
			return answers, err
		}
		if err == nil {
			answers = answers[:0]
			for _, name := range nodes {
				answers = append(answers, answerOf(name, reports, r.Number))
			}
		}
		open := slices.ContainsFunc(answers, func(n nodeAnswer) bool { return n.Answer == "silent" || n.Answer == "failed" })
		if !open || ctx.Err() != nil {
			return answers, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func answerOf(name string, reports []bridge.RevisionReport, revision uint64) nodeAnswer {
	for _, r := range reports {
		switch {
		case r.Node != name || r.Seen < revision:
		case r.Applied >= revision:
			return nodeAnswer{Node: name, Answer: "applied"}
		case r.Refused:
			return nodeAnswer{Node: name, Answer: "refused", Reasons: r.Reasons}
		default:
			return nodeAnswer{Node: name, Answer: "failed", Reasons: r.Reasons}
		}
	}
	return nodeAnswer{Node: name, Answer: "silent"}
}

// settled reports whether all nodes that are there run the revision.
func (p pushedJSON) settled() bool {
	return !slices.ContainsFunc(p.Nodes, func(n nodeAnswer) bool { return n.Answer != "applied" })
}

// orphans finds the consumers that the configuration asks for no more, and
// deletes them where that was asked for and may be done.
func (f pushFlags) orphans(ctx context.Context, b *bridge.Bridge, content []byte, settled bool) ([]orphan, error) {
	list := []orphan{}
	bundle, err := config.DecodeBundle(content)
	if err != nil {
		return list, err
	}
	set, _ := config.InspectPipelines(bundle.Pipelines())
	names, err := b.Orphans(ctx, node.Consumers(set))
	if err != nil || len(names) == 0 {
		return list, err
	}
	_, consumers, err := b.State(ctx)
	if err != nil {
		return list, err
	}
	for _, c := range consumers {
		if !slices.Contains(names, c.Name) {
			continue
		}
		o := orphan{Consumer: c.Name, Waiting: int64(c.Messages) + int64(c.Unacked)}
		if f.Prune && settled {
			if err := b.Prune(ctx, c.Name); err != nil {
				return list, err
			}
			o.Pruned = true
		}
		list = append(list, o)
	}
	return list, nil
}

func (p pushedJSON) headline() string {
	if p.Unchanged {
		return fmt.Sprintf("%s has this content already", p.Revision.Label())
	}
	return fmt.Sprintf("revision %d is pushed: %s", p.Revision.Number, sizeText(uint64(p.Revision.Size)))
}

// text is what there is to say after the headline.
func (p pushedJSON) text(f pushFlags) string {
	var text string
	add := func(format string, args ...any) { text += printable(fmt.Sprintf(format, args...)) + "\n" }
	for _, n := range p.Nodes {
		switch n.Answer {
		case "applied":
			add("node %s runs it", n.Node)
		case "refused":
			add("node %s refuses it and keeps what it had", n.Node)
		case "failed":
			add("node %s cannot take it yet and tries again", n.Node)
		default:
			add("node %s has not answered within %s", n.Node, f.Wait)
		}
		for _, r := range n.Reasons {
			add("  %s", r)
		}
	}
	if len(p.Nodes) == 0 && f.Wait > 0 {
		add("no node is there; each takes it as it starts")
	}
	for _, o := range p.Orphaned {
		switch {
		case o.Pruned:
			add("pruned %s and let go %s", o.Consumer, count(o.Waiting, "stored message"))
		case f.Prune:
			add("%s is in no order any more and was not pruned, as not all nodes are known to run the revision; %s kept for it", o.Consumer, count(o.Waiting, "stored message"))
		default:
			add("%s is in no order any more; %s kept for it; delete both with: epmesh config push --prune, or epmesh prune %s", o.Consumer, count(o.Waiting, "stored message"), o.Consumer)
		}
	}
	return text
}
