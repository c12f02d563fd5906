package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
)

// ClusterOptions make an embedded server one of a JetStream cluster. The zero
// value is a server alone.
type ClusterOptions struct {
	// Name is the same on all servers.
	Name string
	// Listen is the address for the other servers; "" means no cluster.
	Listen string
	// Advertise is where the others reach this server, host:port. Empty: the
	// seed whose host is the server's name, else what the others see.
	Advertise string
	// Routes are seeds, host:port. The server may be among them itself; the
	// others are found through them.
	Routes []string
	// TLS is needed, all three, unless all addresses are of this machine alone
	// or Insecure is set.
	TLS      TLSFiles
	Insecure bool
}

func (c ClusterOptions) on() bool { return c.Listen != "" }

// apply makes opts those of a server of the cluster.
func (c ClusterOptions) apply(opts *server.Options) error {
	if !c.on() {
		return nil
	}
	if len(c.Routes) == 0 {
		return errors.New("nats cluster: it has no routes: list the addresses of its servers in nats.cluster.routes")
	}
	host, port, err := splitListen("nats.cluster.listen", c.Listen)
	if err != nil {
		return err
	}
	opts.Cluster = server.ClusterOpts{
		Name: c.Name, Host: host, Port: port, Advertise: c.Advertise,
		// Clients stay with the server that they know: users and passwords are
		// each server's own.
		NoAdvertise: true,
		TLSTimeout:  clusterTLSTimeout.Seconds(), AuthTimeout: 2 * clusterTLSTimeout.Seconds(),
	}
	plain := !loopback(c.Listen)
	for _, r := range c.Routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: r})
		plain = plain || !loopback(r)
		if h, _, _ := net.SplitHostPort(r); opts.Cluster.Advertise == "" && h == opts.ServerName {
			opts.Cluster.Advertise = r
		}
	}
	if c.TLS.given() {
		if opts.Cluster.TLSConfig, err = c.TLS.mutual(); err != nil {
			return fmt.Errorf("nats cluster: %w", err)
		}
	} else if plain && !c.Insecure {
		return errors.New("nats cluster: routes beyond this machine need TLS: give nats.cluster.tls.ca, cert and key (epmesh cert makes them), or say nats.cluster.insecure: true")
	}
	return nil
}

// clusterTLSTimeout bounds a handshake between servers: machines that all start
// at once are slow.
const clusterTLSTimeout = 10 * time.Second

// others are the seeds that are not the server itself, as far as names tell.
func (c ClusterOptions) others(name string) []string {
	return slices.DeleteFunc(slices.Clone(c.Routes), func(r string) bool {
		h, _, _ := net.SplitHostPort(r)
		return r == c.Advertise || r == c.Listen || h == name
	})
}

// splitListen reads an address to listen on. Port 0 becomes any.
func splitListen(what, address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: %w", what, address, err)
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("%s %q: the port is not a number", what, address)
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	// The server would end the process on a busy port.
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", 0, fmt.Errorf("nats cannot listen on %s: %w (choose another with %s)", address, err, what)
	}
	l.Close()
	return host, port, nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

const (
	// clusterLook is how often a server that waits looks for the others.
	clusterLook = 100 * time.Millisecond
	// clusterTell is how often it says for whom it waits.
	clusterTell = 10 * time.Second
	// seedWait is how long a seed has to take a connection.
	seedWait = time.Second
)

// awaitCluster returns once the cluster has a leader, that is once most of its
// servers are there, and says meanwhile who is missing. It waits until ctx ends.
func (s *Server) awaitCluster(ctx context.Context, log hclog.Logger) error {
	if !s.cluster.on() || s.hasLeader() {
		return nil
	}
	// The first word comes soon: whoever starts the first of three sees at once
	// that it is not stuck.
	next := time.Now().Add(clusterTell / 10)
	told := false
	for !s.hasLeader() {
		if now := time.Now(); now.After(next) {
			log.Info("waiting for the cluster: " + s.missing(ctx))
			next, told = now.Add(clusterTell), true
		}
		if err := sleep(ctx, clusterLook); err != nil {
			return fmt.Errorf("wait for the cluster: %w: %s", err, s.missing(context.WithoutCancel(ctx)))
		}
	}
	if told {
		log.Info("the cluster is there", "servers", strings.Join(s.known(), ", "))
	}
	return nil
}

// hasLeader reports whether the cluster can decide anything now.
func (s *Server) hasLeader() bool {
	info, err := s.srv.Jsz(nil)
	return err == nil && info.Meta != nil && info.Meta.Leader != ""
}

// known are the names of the servers that this one is connected to, and its own.
func (s *Server) known() []string {
	names := []string{s.srv.Name()}
	if routes, err := s.srv.Routez(nil); err == nil {
		for _, r := range routes.Routes {
			if r.RemoteName != "" {
				names = append(names, r.RemoteName)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// missing says how many servers there are, and which seeds do not answer.
func (s *Server) missing(ctx context.Context) string {
	known := s.known()
	others := s.cluster.others(s.srv.Name())
	text := fmt.Sprintf("%d of %d servers known (%s)", len(known), max(len(others)+1, len(known)), strings.Join(known, ", "))
	silent := make([]string, len(others))
	var dials sync.WaitGroup
	for i, seed := range others {
		if h, _, _ := net.SplitHostPort(seed); slices.Contains(known, h) {
			continue
		}
		dials.Go(func() {
			d := net.Dialer{Timeout: seedWait}
			c, err := d.DialContext(ctx, "tcp", seed)
			if err != nil {
				silent[i] = fmt.Sprintf("%s (%v)", seed, dialReason(err))
				return
			}
			c.Close()
		})
	}
	dials.Wait()
	silent = slices.DeleteFunc(silent, func(s string) bool { return s == "" })
	switch {
	case len(silent) > 0:
		text += "; no answer from " + strings.Join(silent, ", ")
	case len(known) <= len(others):
		text += "; all seeds answer, so see the log of both sides for why they do not join: another nats.cluster.name, another CA, or a name that the certificate lacks"
	default:
		text += "; they are choosing a leader"
	}
	return text
}

// dialReason is the innermost text of a failed connection: the address stands
// before it.
func dialReason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return err
}
