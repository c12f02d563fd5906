package integration

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
)

// granted are the permissions that docs/security.md asks of an external server
// for a user, as the page has them.
func granted(t *testing.T, user string) *server.Permissions {
	t.Helper()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?s)user: ` + user + `,.*?publish: (\[.*?\])\s+subscribe: (\[.*?\])`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("docs/security.md has no permissions of user %s", user)
	}
	var publish, subscribe []string
	if err := errors.Join(json.Unmarshal(found[1], &publish), json.Unmarshal(found[2], &subscribe)); err != nil {
		t.Fatal(err)
	}
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
	}
}

// A node and a person's commands do all that they do with the permissions that
// the documentation asks for, and no more.
func TestDocumentedPermissionsSuffice(t *testing.T) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
		Users: []*server.User{
			{Username: "node", Password: "n", Permissions: granted(t, "node")},
			{Username: "person", Password: "p", Permissions: granted(t, "person")},
			{Username: "viewer", Password: "v", Permissions: granted(t, "viewer")},
			{Username: "plugin", Password: "s", Permissions: granted(t, "plugin")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	refused := make(chan string, 100)
	connect := func(user, password string) *bridge.Bridge {
		b, err := bridge.Open(t.Context(), bridge.Options{
			Name: user, URL: srv.ClientURL(), User: user, Password: password,
			Logger: hclog.New(&hclog.LoggerOptions{Output: lines(refused), Level: hclog.Warn}),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	node, person, viewer := connect("node", "n"), connect("person", "p"), connect("viewer", "v")

	consumer := bridge.ParseConsumer()
	must(t, second(node.Ensure(t.Context(), []bridge.Consumer{consumer})))
	// Presence and configuration: whoever looks sees the nodes and no configuration.
	must(t, node.Announce(t.Context(), bridge.Presence{Node: "n"}, time.Minute))
	base, err := person.CurrentRevision(t.Context())
	must(t, err)
	pushed, err := person.PushRevision(t.Context(), base, bridge.Revision{Author: "p"}, []byte("secret"))
	must(t, err)
	must(t, second(node.RevisionContent(t.Context(), pushed)))
	must(t, node.ReportRevision(t.Context(), bridge.RevisionReport{Node: "n", Seen: 1, Applied: 1}))
	if list, err := viewer.Nodes(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("the viewer sees %d nodes: %v", len(list), err)
	}
	// The state, for a plugin's own user and for one that connects as the node does.
	revision := uint64(0)
	for user, password := range map[string]string{"plugin": "s", "node": "n"} {
		access := bridge.StateAccess{URL: srv.ClientURL(), User: user, Password: password}
		st, err := bridge.OpenState(t.Context(), bridge.StateOptions{
			Name: user, Scope: "x", Access: func() (bridge.StateAccess, error) { return access, nil },
			Logger: hclog.New(&hclog.LoggerOptions{Output: lines(refused), Level: hclog.Warn}),
		})
		must(t, err)
		t.Cleanup(st.Close)
		revision, err = st.Put(t.Context(), "k", []byte(user), revision, time.Hour)
		must(t, err)
		if e, err := st.Get(t.Context(), "k"); err != nil || string(e.Value) != user {
			t.Errorf("state as %s: %q %v", user, e.Value, err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	handled := make(chan bridge.Item, 10)
	refuse := true
	go func() {
		done <- node.Consume(ctx, bridge.Work{Consumer: consumer, Handler: func(_ context.Context, it bridge.Item) ([]bridge.Item, error) {
			if refuse {
				refuse = false
				return nil, bridge.Permanent(errors.New("not this time"))
			}
			handled <- it
			return nil, nil
		}})
	}()
	go func() { done <- node.Serve(ctx, "status", nil, func() ([]byte, error) { return []byte("well"), nil }) }()

	tapped, ready := make(chan bridge.Tapped, 10), make(chan struct{})
	tapping, endTap := context.WithCancel(t.Context())
	tapEnded := make(chan error, 1)
	go func() {
		_, err := viewer.Tap(tapping, bridge.TapFilter{Stage: "dead"}, func() { close(ready) }, func(x bridge.Tapped) bool {
			tapped <- x
			return true
		})
		tapEnded <- err
	}()
	<-ready
	must(t, node.Publish(t.Context(), bridge.Item{ID: bridge.NewID([]byte("1")), Subject: bridge.LogSubject("t", "d"), Body: []byte("x")}))
	<-tapped
	endTap()
	must(t, <-tapEnded)

	must(t, viewer.DeadLetters(t.Context(), bridge.DeadFilter{}, func(bridge.DeadLetter) bool { return true }))
	var letters []bridge.DeadLetter
	eventually(t, "the dead letter is stored", func() bool { // it is tapped before that
		must(t, person.DeadLetters(t.Context(), bridge.DeadFilter{}, func(d bridge.DeadLetter) bool {
			letters = append(letters, d)
			return true
		}))
		return len(letters) > 0
	})
	must(t, person.Replay(t.Context(), letters[0]))
	<-handled
	for _, b := range []*bridge.Bridge{person, viewer} {
		if answers, err := b.Ask(t.Context(), "status", 200*time.Millisecond); err != nil || len(answers) != 1 {
			t.Errorf("%d nodes answer: %v", len(answers), err)
		}
		_, _, err = b.State(t.Context())
		must(t, err)
	}
	stop()
	must(t, <-done)
	must(t, <-done)
	must(t, person.Prune(t.Context(), consumer.Name()))
	select {
	case line := <-refused:
		t.Error(line)
	default:
	}
}

// lines hands what a logger writes to a channel.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

func second[T any](_ T, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
