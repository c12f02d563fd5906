package main

import (
	"errors"
	"fmt"

	"github.com/epmesh/epmesh/bridge"
)

type natsCmd struct {
	Init natsInitCmd `cmd:"" help:"Write configurations for NATS servers of your own, and how nodes and commands reach them."`
}

type natsInitCmd struct {
	Dir      string   `arg:"" help:"Folder that gets <server>.conf, node.json and operator.json."`
	Servers  []string `name:"servers" required:"" placeholder:"HOST,..." help:"Hosts of the servers: 1, 3 or 5."`
	Store    string   `name:"store" default:"/data" placeholder:"DIR" help:"Where each server keeps its streams (${default})."`
	Sync     string   `name:"sync" default:"always" placeholder:"SYNC" help:"When a server writes to disk: always (before it answers), or an interval such as 2m (${default})."`
	IfAbsent bool     `name:"if-absent" help:"Exit with 0, and change nothing, where the files are there already."`
}

func (natsInitCmd) Help() string {
	return `Passwords are made at random; the files are for their owner alone (mode 0600). A
node that reads node.json may do what nodes do, and nothing outside epmesh's streams
but ask the JetStream API. Between the servers, and to them, there is no TLS: for a
network that others use too add tls blocks, see docs/security.md.

Examples:
  epmesh nats init /etc/epmesh --servers nats-1,nats-2,nats-3
  nats-server -c /etc/epmesh/nats-1.conf
  EPMESH_NATS_CONTEXT=/etc/epmesh/node.json EPMESH_NATS_REPLICAS=3 epmesh node
  epmesh status --context /etc/epmesh/operator.json`
}

func (c *natsInitCmd) Run(a *app) error {
	err := bridge.WriteServerFiles(c.Dir, bridge.ServerFiles{Servers: c.Servers, Store: c.Store, Sync: c.Sync})
	switch {
	case errors.Is(err, bridge.ErrFilesThere) && c.IfAbsent:
		fmt.Fprintf(a.stdout, "%s: nothing to do, the files are there\n", c.Dir)
		return nil
	case errors.Is(err, bridge.ErrFilesThere):
		return fmt.Errorf("%w; new ones would shut out who has these: remove them first, or give --if-absent", err)
	case err != nil:
		return err
	}
	for _, host := range c.Servers {
		fmt.Fprintf(a.stdout, "on %s: nats-server -c %s/%s.conf\n", host, c.Dir, host)
	}
	replicas := ""
	if len(c.Servers) > 1 {
		replicas = fmt.Sprintf("EPMESH_NATS_REPLICAS=%d ", min(len(c.Servers), 3))
	}
	fmt.Fprintf(a.stdout, "nodes:    EPMESH_NATS_CONTEXT=%s/node.json %sepmesh node\n", c.Dir, replicas)
	fmt.Fprintf(a.stdout, "commands: epmesh status --context %s/operator.json\n", c.Dir)
	return nil
}
