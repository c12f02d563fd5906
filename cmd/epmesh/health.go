package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/epmesh/epmesh/config"
)

type healthCmd struct {
	WorkDir string        `name:"work-dir" placeholder:"DIR" help:"Work dir of the node on this machine (WORK_DIR)."`
	URL     string        `name:"url" placeholder:"URL" help:"Address to ask instead, such as http://127.0.0.1:8222/healthz of a NATS server."`
	Timeout time.Duration `name:"timeout" default:"3s" placeholder:"TIME" help:"How long to wait for an answer (${default})."`
}

func (healthCmd) Help() string {
	return `Asks the node's own /readyz over HTTP: whether it can take logs and keep them. It
is the health check of containers that have no other program. Exit code 0 is ready,
1 is not, 3 is no answer.

Examples:
  epmesh health
  epmesh health --url http://127.0.0.1:8222/healthz`
}

// maxHealth bounds what is shown of an answer.
const maxHealth = 64 << 10

func (c *healthCmd) Run(a *app) error {
	url := c.URL
	if url == "" {
		s, err := config.LoadSettings(config.Sources{Dir: c.WorkDir, Lookup: os.LookupEnv})
		if err != nil {
			return err
		}
		if url, err = readyURL(s.HTTP.Listen); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usagef("--url: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return unreachablef("%w: is the node up, and http.listen its address?", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxHealth))
	if err != nil {
		return unreachablef("%s: %w", url, err)
	}
	fmt.Fprintln(a.stdout, printable(strings.TrimSpace(string(text))))
	if answer.StatusCode != http.StatusOK {
		return errSilent
	}
	return nil
}

// readyURL is where a node that listens on the address is asked from its own
// machine.
func readyURL(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return "", usagef("http.listen %q is no address to ask: give --url", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/readyz", nil
}
