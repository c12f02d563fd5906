package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
)

type configCmd struct {
	Push     configPushCmd     `cmd:"" help:"Check pipeline files and rules, and have all nodes run them."`
	Pull     configPullCmd     `cmd:"" help:"Write what was pushed into a folder."`
	History  configHistoryCmd  `cmd:"" help:"List what was pushed, and which nodes run it or refuse it and why."`
	Diff     configDiffCmd     `cmd:"" help:"Show what differs between two revisions, or a revision and a folder."`
	Rollback configRollbackCmd `cmd:"" help:"Push an older revision's content again."`
}

// author is who pushes, for the history.
func author() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}

// bundleOf reads a revision's files.
func bundleOf(ctx context.Context, b *bridge.Bridge, r bridge.Revision) (config.Bundle, error) {
	content, err := b.RevisionContent(ctx, r)
	if err != nil {
		return nil, err
	}
	return config.DecodeBundle(content)
}

// folderBundle reads the files of a folder that has pipeline or rules in it.
func folderBundle(dir string) (config.Bundle, error) {
	b, report := config.ReadBundle(dir)
	if errs := report.Errors(); len(errs) > 0 {
		return nil, fmt.Errorf("%s", strings.TrimSpace(errs.String()))
	}
	if len(b) == 0 {
		return nil, usagef("%s holds no configuration: name a folder with pipeline/ or rules/ in it, such as a work dir", dir)
	}
	return b, nil
}

// nothingPushed is what commands say who need a revision.
func nothingPushed(where string) error {
	return fmt.Errorf("nothing has been pushed to %s yet: nodes run their own files; epmesh config push DIR pushes the first revision", where)
}

type configPullCmd struct {
	Dir      string `arg:"" help:"The folder that is to get pipeline/ and rules/."`
	Revision uint64 `name:"revision" placeholder:"N" help:"An older revision instead of the current one."`
	Force    bool   `name:"force" help:"Replace and remove files of the folder that differ."`
	JSON     bool   `name:"json" help:"Print one line of JSON."`
	reachFlags
}

func (configPullCmd) Help() string {
	return `Examples:
  epmesh config pull ./mesh
  epmesh config pull ./before --revision 6`
}

func (c *configPullCmd) Run(a *app) error {
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	r, err := pick(a.ctx, b, where, c.Revision)
	if err != nil {
		return err
	}
	bundle, err := bundleOf(a.ctx, b, r)
	if err != nil {
		return err
	}
	there, report := config.ReadBundle(c.Dir)
	if !c.Force && (len(there) > 0 && !there.Equal(bundle) || len(report.Errors()) > 0) {
		return fmt.Errorf("%s holds other pipeline files or rules, which would be replaced or removed: pull into another folder, or add --force", c.Dir)
	}
	if err := bundle.LayDown(a.ctx, c.Dir); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(map[string]any{"revision": r, "files": len(bundle)})
	}
	_, err = fmt.Fprintf(a.stdout, "%s of revision %d are in %s\n", count(len(bundle), "file"), r.Number, c.Dir)
	return err
}

// pick is a revision by its number, 0 for the current one.
func pick(ctx context.Context, b *bridge.Bridge, where string, number uint64) (bridge.Revision, error) {
	if number > 0 {
		return b.Revision(ctx, number)
	}
	r, err := b.CurrentRevision(ctx)
	if err == nil && r.Number == 0 {
		err = nothingPushed(where)
	}
	return r, err
}

type configHistoryCmd struct {
	JSON bool `name:"json" help:"Print one line of JSON."`
	reachFlags
}

func (configHistoryCmd) Help() string {
	return `The last 50 revisions are kept. A node is listed for a week after it last said what it
made of a revision.

Example:
  epmesh config history`
}

// historyJSON is what history prints.
type historyJSON struct {
	Revisions []bridge.Revision       `json:"revisions"` // newest first
	Nodes     []bridge.RevisionReport `json:"nodes"`
}

func (c *configHistoryCmd) Run(a *app) error {
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	h := historyJSON{Revisions: []bridge.Revision{}, Nodes: []bridge.RevisionReport{}}
	revisions, err := b.Revisions(a.ctx)
	if err != nil {
		return err
	}
	reports, err := b.RevisionReports(a.ctx)
	if err != nil {
		return err
	}
	h.Revisions, h.Nodes = append(h.Revisions, revisions...), append(h.Nodes, reports...)
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(h)
	}
	if len(revisions) == 0 {
		return nothingPushed(where)
	}
	_, err = fmt.Fprint(a.stdout, historyText(h, width(a.stdout)))
	return err
}

func historyText(h historyJSON, width int) string {
	rows := [][]string{{"REVISION", "TIME", "AUTHOR", "SIZE", "RUN BY", "MESSAGE"}}
	for _, r := range h.Revisions {
		var nodes []string
		for _, n := range h.Nodes {
			if n.Applied == r.Number {
				nodes = append(nodes, n.Node)
			}
		}
		message := r.Message
		if r.Restores > 0 {
			message = strings.TrimSpace(fmt.Sprintf("%s (as revision %d)", message, r.Restores))
		}
		rows = append(rows, []string{
			fmt.Sprint(r.Number), r.Time.UTC().Format(time.DateTime), r.Author, sizeText(uint64(r.Size)), strings.Join(nodes, ","), message,
		})
	}
	var b strings.Builder
	b.WriteString(table(width, rows))
	for _, n := range h.Nodes {
		b.WriteString(reportText(n))
	}
	return b.String()
}

// reportText says what a node has not taken, and why; "" where all is well.
func reportText(n bridge.RevisionReport) string {
	if n.Applied == n.Seen {
		return ""
	}
	runs := "its own files"
	if n.Applied > 0 {
		runs = fmt.Sprintf("revision %d", n.Applied)
	}
	verb := "cannot take revision %d yet"
	if n.Refused {
		verb = "refuses revision %d"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "node %s "+verb+" and runs %s\n", n.Node, n.Seen, runs)
	for _, reason := range n.Reasons {
		fmt.Fprintf(&b, "  %s\n", reason)
	}
	return printableLines(b.String())
}

func printableLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(printable(strings.TrimRight(line, "\n")) + "\n")
	}
	return b.String()
}

type configDiffCmd struct {
	A    string `arg:"" optional:"" name:"a" help:"A revision's number, or a folder; the one before the current if neither is given."`
	B    string `arg:"" optional:"" name:"b" help:"Another; the current revision if not given."`
	JSON bool   `name:"json" help:"Print one line of JSON."`
	reachFlags
}

func (configDiffCmd) Help() string {
	return `Values of keys that look like secrets (password, token, ...) are shown as xxxxx. Exit code
0 whether or not there are differences.

Examples:
  epmesh config diff
  epmesh config diff 7 ./mesh
  epmesh config diff 6 9`
}

func (c *configDiffCmd) Run(a *app) error {
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	current, err := pick(a.ctx, b, where, 0)
	if err != nil {
		return err
	}
	from, to := c.A, cmp.Or(c.B, fmt.Sprint(current.Number))
	switch _, err := strconv.ParseUint(from, 10, 64); {
	case from == "":
		from = fmt.Sprint(current.Parent)
	case err != nil && c.B == "": // a folder: what pushing it would change
		from, to = to, from
	}
	read := func(name string) (config.Bundle, error) {
		number, err := strconv.ParseUint(name, 10, 64)
		switch {
		case err != nil:
			return folderBundle(name)
		case number == 0:
			return nil, nil // before the first
		}
		r, err := b.Revision(a.ctx, number)
		if err != nil {
			return nil, err
		}
		return bundleOf(a.ctx, b, r)
	}
	x, err := read(from)
	if err != nil {
		return err
	}
	y, err := read(to)
	if err != nil {
		return err
	}
	diff := config.Diff(x, y)
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(map[string]string{"from": from, "to": to, "diff": diff})
	}
	_, err = fmt.Fprint(a.stdout, printableLines(diff))
	return err
}

type configRollbackCmd struct {
	Revision uint64 `arg:"" optional:"" name:"revision" help:"The revision to go back to; the one before the current if not given."`
	pushFlags
	reachFlags
}

func (configRollbackCmd) Help() string {
	return `It writes a new revision with the old content: history only grows.

Examples:
  epmesh config rollback
  epmesh config rollback 6 -m "the new rules are too loud"`
}

func (c *configRollbackCmd) Run(a *app) error {
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	base, err := pick(a.ctx, b, where, 0)
	if err != nil {
		return err
	}
	number := cmp.Or(c.Revision, base.Parent)
	if number == 0 {
		return errors.New("there is nothing before the first revision to go back to")
	}
	old, err := b.Revision(a.ctx, number)
	if err != nil {
		return err
	}
	content, err := b.RevisionContent(a.ctx, old)
	if err != nil {
		return err
	}
	return c.pushFlags.push(a, b, base, bridge.Revision{Restores: number}, content)
}

// liveNodes are the names of the nodes that are there.
func liveNodes(ctx context.Context, b *bridge.Bridge) ([]string, error) {
	nodes, err := b.Nodes(ctx)
	var names []string
	for _, n := range nodes {
		if n.Live {
			names = append(names, n.Node)
		}
	}
	slices.Sort(names)
	return names, err
}
