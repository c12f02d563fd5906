package incidents

import (
	"context"
	"time"

	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
)

// space is the name space of the ids that the plugin makes.
var space = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/epmesh/epmesh/incidents"))

// closeWait is how long a stopping plugin waits for the last Acks.
const closeWait = 2 * time.Second

// correlator is the running plugin.
type correlator struct {
	plugins.Instance
	settings

	book *book
	out  *plugins.Notifier
}

// Run serves until ctx ends.
func (c *correlator) Run(ctx context.Context) error {
	out, err := plugins.NewNotifier(c.Sender())
	if err != nil {
		return err
	}
	c.book, c.out = newBook(c.settings), out
	err = plugins.Serve(ctx, plugins.Options{Name: c.Name, Dir: c.Dir, Logger: c.Logger, Correlate: c.correlate})
	end, done := context.WithTimeout(context.Background(), closeWait)
	defer done()
	// Every message was waited for by its call: an error here says what those
	// calls said.
	_ = out.Close(end)
	return err
}

// correlate returns once the alert's message is stored, so that an alert whose
// message is not comes again.
func (c *correlator) correlate(ctx context.Context, a *pb.Alert) error {
	now := time.Now()
	i, what := c.book.take(a, now)
	switch what {
	case done:
		return nil
	case twin:
		c.Logger.Debug("equal alert left out", "alert", a.Id, "name", a.Name)
		return nil
	}
	body, err := message(a, i)
	if err == nil {
		err = c.out.Store(ctx, &plugins.Message{
			Id:        uuid.NewSHA1(space, []byte("message\x00"+a.Id)).String(),
			Timestamp: now.UTC().Format(time.RFC3339Nano),
			Topic:     c.Topic,
			Message:   body,
		})
	}
	if err != nil {
		c.book.undo(a)
		return err
	}
	c.book.stored(a, now)
	return nil
}
