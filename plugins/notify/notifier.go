package notify

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
)

// notifier is the running plugin.
type notifier struct {
	plugins.Instance
	Settings
}

// Run serves until ctx ends.
func (n *notifier) Run(ctx context.Context) error {
	return plugins.Serve(ctx, plugins.Options{Name: n.Name, Dir: n.Dir, Logger: n.Logger, Notify: n.notify})
}

func (n *notifier) notify(_ context.Context, m *pb.Message) error {
	if len(n.Topics) == 0 || slices.Contains(n.Topics, m.Topic) {
		n.Logger.Info(summary(m.Message), "topic", m.Topic, "message", m.Id, "at", m.Timestamp)
	}
	return nil
}

// maxLine bounds a printed message.
const maxLine = 2000

// summary is the line that says what a message says: its summary, if it is JSON
// that has one, else the text itself.
func summary(text string) string {
	var body struct {
		Summary string `json:"summary"`
	}
	if json.Unmarshal([]byte(text), &body) == nil && body.Summary != "" {
		text = body.Summary
	}
	line := []rune(text)
	for i, r := range line {
		if r < ' ' || r == 0x7f {
			line[i] = ' '
		}
	}
	if len(line) > maxLine {
		line = append(line[:maxLine], '…')
	}
	return string(line)
}
