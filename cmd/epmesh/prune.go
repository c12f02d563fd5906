package main

import "fmt"

type pruneCmd struct {
	Consumer string `arg:"" help:"The consumer's name, as status lists it."`
	reachFlags
	Yes bool `name:"yes" help:"Do it: what is kept for the consumer is lost."`
}

func (pruneCmd) Help() string {
	return `A consumer stays when its plugin is taken out of the configuration, and what the
plugin would have been given is kept for it. Prune it when the plugin will not
come back.

Example:
  epmesh prune analysis-old --yes`
}

func (c *pruneCmd) Run(a *app) error {
	b, where, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	mesh, err := ask(a.ctx, b)
	if err != nil {
		return err
	}
	if err := mesh.partial(); err != nil {
		return err
	}
	s := mesh.stage(c.Consumer)
	switch {
	case s == nil:
		return fmt.Errorf("there is no consumer %s in %s; epmesh status lists them", c.Consumer, where)
	case len(s.Nodes) > 0:
		return fmt.Errorf("%s is served by node %s: take its plugin out of the configuration first", c.Consumer, s.Nodes[0])
	case !c.Yes:
		return usagef("%s lets go what is kept for it, %s: add --yes to do it", c.Consumer, count(s.waiting(), "stored message"))
	}
	if err := b.Prune(a.ctx, c.Consumer); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "pruned %s and let go %s\n", c.Consumer, count(s.waiting(), "stored message"))
	return nil
}

// waiting are the messages that are kept for a consumer.
func (s stageJSON) waiting() int64 { return max(s.Pending, 0) + int64(s.Unacked) }
