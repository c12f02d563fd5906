package plugins

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
)

// Notifier sends messages to the node, which hands them to the notification
// plugins. It keeps each until the node has stored it; see Input.
type Notifier struct{ s *sender[*Message] }

// NewNotifier makes a client of WORK_DIR/sockets/engine_server.sock. The node
// need not be there yet. Close it.
func NewNotifier(opts SenderOptions) (*Notifier, error) {
	s, err := newSender(opts, func(ctx context.Context, conn grpc.ClientConnInterface) (stream[*Message], error) {
		return pb.NewEngineClient(conn).Notify(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &Notifier{s}, nil
}

// Send takes a message on its way; it waits while the window is full. A missing
// id and timestamp are set. A message that may be sent twice (by a correlation
// plugin that is given an alert again, say) needs an id that derives from its
// cause: the node keeps one of equal ids.
func (n *Notifier) Send(ctx context.Context, m *Message) error {
	if err := prepareMessage(m); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	if err := n.s.send(ctx, m, nil); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// Store is Send and waits until the node has stored the message.
func (n *Notifier) Store(ctx context.Context, m *Message) error {
	if err := prepareMessage(m); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	if err := n.s.store(ctx, m); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// Flush waits until everything sent before is stored, or ctx ends.
func (n *Notifier) Flush(ctx context.Context) error { return n.s.flush(ctx) }

// Close takes no more messages, waits like Flush, and closes the connection.
func (n *Notifier) Close(ctx context.Context) error { return n.s.close(ctx) }

func prepareMessage(m *Message) error {
	if m == nil {
		return errors.New("nil message")
	}
	if m.Topic == "" {
		return errors.New("a message needs a topic")
	}
	for _, text := range []string{m.Id, m.Timestamp, m.Topic, m.Message} {
		if !utf8.ValidString(text) {
			return errors.New("a field is not UTF-8: use strings.ToValidUTF8")
		}
	}
	if m.Id == "" {
		m.Id = newID()
	}
	if m.Timestamp == "" {
		m.Timestamp = time.Now().UTC().Format(time.RFC3339Nano)
	}
	return nil
}
