package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node"
)

const (
	// A server on this machine answers at once or not at all; another may be
	// behind a slow line.
	localWait  = 2 * time.Second
	remoteWait = 5 * time.Second
	// goneAfter is how long a server may be away before a command gives up.
	goneAfter = 5 * time.Second
)

// reachFlags say which mesh a command is about.
type reachFlags struct {
	WorkDir string `name:"work-dir" placeholder:"DIR" help:"Work dir of a node on this machine, as the node was given it (WORK_DIR)."`
	URL     string `name:"url" placeholder:"URL" help:"NATS server to ask instead, such as nats://host:4222."`
	Creds   string `name:"creds" placeholder:"FILE" help:"Credentials file that goes with --url."`
	Context string `name:"context" placeholder:"FILE" help:"Context file of the nats command that names the server instead."`
}

// settings are those of the node that the flags name.
func (f reachFlags) settings() (config.Settings, error) {
	if f.URL != "" && f.Context != "" {
		return config.Settings{}, usagef("--url and --context both name a server: give one of them")
	}
	if f.Creds != "" && f.URL == "" {
		return config.Settings{}, usagef("--creds goes with --url: give the server too")
	}
	return config.LoadSettings(config.Sources{
		Dir: f.WorkDir, Lookup: os.LookupEnv,
		Override: func(s *config.Settings) {
			if f.URL != "" || f.Context != "" {
				s.NATS.URL, s.NATS.Context, s.NATS.Credentials = f.URL, f.Context, f.Creds
				s.NATS.Durability = nil // the node's affair
			}
		},
	})
}

// open connects to the mesh that the flags name. The text says where that is,
// for people.
func (f reachFlags) open(ctx context.Context) (*bridge.Bridge, string, error) {
	s, err := f.settings()
	if err != nil {
		return nil, "", err
	}
	return reach(ctx, s)
}

// reach connects to the streams of a node with these settings.
func reach(ctx context.Context, s config.Settings) (*bridge.Bridge, string, error) {
	o := bridge.Options{Name: s.Node}
	switch {
	case s.NATS.Context != "":
		o.Context = s.NATS.Context
		return connect(ctx, o, remoteWait, "the server of context "+s.NATS.Context)
	case s.NATS.URL != "":
		o.URL, o.Credentials = s.NATS.URL, s.NATS.Credentials
		return connect(ctx, o, remoteWait, s.NATS.Redacted().URL)
	}
	access, err := bridge.ReadAccess(node.AccessFile(s.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", noNode(s.Dir)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, "", unreachablef("the node in %s was started by another user: run this command as that user, or name a server with --url", s.Dir)
	}
	if err != nil {
		return nil, "", err
	}
	o.URL, o.User, o.Password = access.URL, access.User, access.Password
	b, _, err := connect(ctx, o, localWait, s.Dir)
	if err != nil && !interrupted(ctx) {
		// The file was left behind by a node that was killed.
		return nil, "", noNode(s.Dir)
	}
	return b, s.Dir, err
}

func connect(ctx context.Context, o bridge.Options, wait time.Duration, where string) (*bridge.Bridge, string, error) {
	short, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	b, err := bridge.Open(short, o)
	if err != nil && errors.Is(short.Err(), context.DeadlineExceeded) {
		return nil, "", unreachablef("%s does not answer: is the server up, and its address right?", where)
	}
	if err != nil {
		return nil, "", unreachablef("%s: %w", where, err)
	}
	return b, where, nil
}

func noNode(dir string) error {
	return unreachablef("no node runs in %s: start one with epmesh up or epmesh node, or name another with --work-dir or --url", dir)
}

// noAnswer is the error of a mesh whose server is there and whose nodes are not.
func noAnswer(where string) error {
	return unreachablef("no node answers at %s: start one with epmesh node", where)
}

// whileConnected is a context that ends when the server has been away for too
// long; its cause says so.
func whileConnected(ctx context.Context, b *bridge.Bridge, where string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		seen := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				if b.Connected() {
					seen = now
				} else if now.Sub(seen) > goneAfter {
					cancel(unreachablef("%s has stopped answering", where))
					return
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// lost is why whileConnected ended its context, if it was that which did.
func lost(ctx context.Context) error {
	if c, ok := errors.AsType[coded](context.Cause(ctx)); ok {
		return fmt.Errorf("%w", c)
	}
	return nil
}
