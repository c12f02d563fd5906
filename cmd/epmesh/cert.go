package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/epmesh/epmesh/bridge/certs"
)

type certCmd struct {
	CA   certCACmd   `cmd:"" name:"ca" help:"Make the CA that all nodes of a mesh trust."`
	Node certNodeCmd `cmd:"" help:"Make the certificate of one node."`
}

// certFlags are shared by both.
type certFlags struct {
	Dir   string `name:"dir" placeholder:"DIR" default:"certs" help:"Folder of the CA and the certificates (${default})."`
	Days  int    `name:"days" placeholder:"N" help:"How many days it is good for (a CA ten years, a node one)."`
	Force bool   `name:"force" help:"Replace files that are there."`
	JSON  bool   `name:"json" help:"Print one line of JSON."`
}

// lasts is the time that the flags name.
func (f certFlags) lasts(standard int) (time.Duration, error) {
	days := f.Days
	if days == 0 {
		days = standard
	}
	if days < 1 || days > 100*365 {
		return 0, usagef("--days %d: want 1 to %d", days, 100*365)
	}
	return time.Duration(days) * 24 * time.Hour, nil
}

func (f certFlags) show(a *app, p certs.Pair) error {
	if f.JSON {
		return json.NewEncoder(a.stdout).Encode(p)
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n%s (keep it secret)\ngood until %s\n", p.Cert, p.Key, p.Ends.UTC().Format("2006-01-02"))
	return err
}

const (
	caDays   = 3650
	nodeDays = 365
)

type certCACmd struct {
	certFlags
	Name string `name:"name" placeholder:"NAME" default:"epmesh" help:"The CA's name, for people (${default})."`
}

func (certCACmd) Help() string {
	return `Writes ca.pem, which each node needs, and ca.key (mode 0600), which only epmesh cert node needs: keep it
off the nodes. Nothing that is there is replaced without --force.

Example:
  epmesh cert ca --dir certs`
}

func (c *certCACmd) Run(a *app) error {
	lasts, err := c.lasts(caDays)
	if err != nil {
		return err
	}
	p, err := certs.MakeCA(c.Dir, c.Name, lasts, c.Force)
	if err != nil {
		return err
	}
	return c.show(a, p)
}

type certNodeCmd struct {
	certFlags
	Node string   `arg:"" help:"Name of the node; the files are NAME.pem and NAME.key."`
	Host []string `name:"host" placeholder:"HOST" help:"Names and addresses by which others reach it, besides its name (several with commas)."`
}

func (certNodeCmd) Help() string {
	return `Both sides of a connection between nodes show such a certificate and check the other's. The other side
connects by a name or address, which has to be one of the certificate's: the node's name and every --host.

Examples:
  epmesh cert node node-1 --dir certs
  epmesh cert node node-1 --host node-1.example.org,10.0.0.11 --force`
}

func (c *certNodeCmd) Run(a *app) error {
	lasts, err := c.lasts(nodeDays)
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.Dir); err != nil {
		return fmt.Errorf("no folder %s: make the CA first with epmesh cert ca --dir %s", c.Dir, c.Dir)
	}
	hosts := []string{c.Node}
	for _, h := range c.Host {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	p, err := certs.Issue(c.Dir, c.Node, hosts, lasts, c.Force)
	if err != nil {
		return err
	}
	return c.show(a, p)
}
