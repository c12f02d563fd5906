package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
)

type verifyCmd struct {
	reachFlags
	Count    int           `name:"count" default:"100" placeholder:"N" help:"Logs to send (${default})."`
	Rate     float64       `name:"rate" default:"50" placeholder:"N" help:"Logs a second (${default})."`
	Duration time.Duration `name:"duration" placeholder:"TIME" help:"Send for this time, such as 5m, instead of --count logs."`
	Wait     time.Duration `name:"wait" default:"30s" placeholder:"TIME" help:"How long to wait for what is missing after the last log (${default})."`
	Within   time.Duration `name:"within" default:"10s" placeholder:"TIME" help:"How soon the last log has to be an event (${default})."`
	DataType string        `name:"data-type" default:"epmesh-verify" placeholder:"TYPE" help:"Data type of the logs (${default}); the pipelines of that type see them."`
	Tenant   string        `name:"tenant" default:"epmesh-verify" placeholder:"ID" help:"Tenant of the logs (${default})."`
	JSON     bool          `name:"json" help:"Print one line of JSON."`
}

func (verifyCmd) Help() string {
	return `Sends marked logs through the mesh, and looks for each in the events and the dead
letters. They go in at the engine socket of the node on this machine; with --url or
--context straight into the stream of logs. It exits with 0 only if none is missing
and the last was an event soon enough; else it says where what is missing was seen
last. The logs have a data type and a tenant of their own.

Examples:
  epmesh verify
  epmesh verify --duration 10m --rate 200 --json
  epmesh verify --context /etc/nats/mesh.json`
}

func (c *verifyCmd) check() error {
	switch {
	case c.Count < 1:
		return usagef("--count %d: want 1 or more", c.Count)
	case c.Rate <= 0 || c.Rate > 100_000:
		return usagef("--rate %v: want logs a second, up to 100000", c.Rate)
	case c.Duration < 0 || c.Wait < 0 || c.Within <= 0:
		return usagef("--duration, --wait and --within want times such as 30s")
	case c.DataType == "" || c.Tenant == "":
		return usagef("--data-type and --tenant want a name")
	}
	if c.Duration > 0 {
		c.Count = max(int(c.Duration.Seconds()*c.Rate), 1)
	}
	return nil
}

func (c *verifyCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	b, _, err := c.open(a.ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	send, end, err := c.door(b)
	if err != nil {
		return err
	}
	defer end()
	t := newTracker("epmesh-verify-" + uuid.NewString())
	follow, stop := context.WithCancel(context.Background())
	defer stop()
	followed, err := t.follow(follow, b, bridge.TapFilter{Tenant: c.Tenant, DataType: c.DataType})
	if err != nil {
		return err
	}
	c.send(a.ctx, t, send)
	t.await(c.Wait)
	stop()
	if err := <-followed; err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(context.Background(), remoteWait)
	defer cancel()
	where, err := t.locate(ask, b, bridge.TapFilter{Tenant: c.Tenant, DataType: c.DataType})
	if err != nil {
		complain(a.stderr, fmt.Sprintf("cannot look for what is missing: %v", err))
	}
	v := t.verdict(where, c.Within)
	if err := c.print(a.stdout, v); err != nil {
		return err
	}
	for _, r := range v.reasons(c.Within) {
		complain(a.stderr, r)
	}
	if !v.OK {
		return coded{errSilent, codeFailed}
	}
	return nil
}

func (c *verifyCmd) print(w io.Writer, v verdict) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(v)
	}
	_, err := fmt.Fprintln(w, v)
	return err
}

// door is where the logs go in. send takes a log on its way and has stored called
// once that is stored; end lets go what is still on its way.
func (c *verifyCmd) door(b *bridge.Bridge) (send func(ctx context.Context, log *pb.Log, stored func()) error, end func(), err error) {
	if c.URL != "" || c.Context != "" {
		return c.intoStream(b)
	}
	s, err := c.settings()
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(filepath.Join(s.SocketDir(), "engine_server.sock")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, noNode(s.Dir)
	}
	in, err := plugins.NewInput(plugins.SenderOptions{Name: "verify", Dir: s.Dir, Logger: hclog.NewNullLogger()})
	if err != nil {
		return nil, nil, err
	}
	return in.SendFunc, func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what was not stored until now has been counted
		_ = in.Close(ctx)
	}, nil
}

// intoStream publishes, as a node does with what its engine socket took.
func (c *verifyCmd) intoStream(b *bridge.Bridge) (send func(ctx context.Context, log *pb.Log, stored func()) error, end func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	return func(_ context.Context, log *pb.Log, stored func()) error {
		body, err := proto.Marshal(log)
		if err != nil {
			return fmt.Errorf("encode log: %w", err)
		}
		item := bridge.Item{ID: bridge.NewID(body), Subject: bridge.LogSubject(c.Tenant, c.DataType), Received: time.Now().UnixNano(), Body: body}
		go func() {
			if b.Publish(ctx, item) == nil {
				stored()
			}
		}()
		return nil
	}, cancel, nil
}

// send sends the logs at their rate, until all are sent or ctx ends.
func (c *verifyCmd) send(ctx context.Context, t *tracker, send func(context.Context, *pb.Log, func()) error) {
	// What the mesh does not take within this time is not sent.
	ctx, cancel := context.WithTimeout(ctx, time.Duration(float64(c.Count)/c.Rate*float64(time.Second))+c.Wait)
	defer cancel()
	tick := time.NewTicker(max(time.Duration(float64(time.Second)/c.Rate), 5*time.Millisecond))
	defer tick.Stop()
	for began, sent := time.Now(), 0; ; {
		for due := int(time.Since(began).Seconds()*c.Rate) + 1; sent < min(due, c.Count); sent++ {
			id := t.begin()
			log := &pb.Log{
				Id: id, DataType: c.DataType, DataSource: "epmesh verify", TenantId: c.Tenant,
				Timestamp: time.Now().UTC().Format(time.RFC3339Nano), Raw: `{"verify":"` + id + `"}`,
			}
			if send(ctx, log, func() { t.acked(id) }) != nil {
				t.forget(id)
				return
			}
		}
		if sent == c.Count {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
