package stage

import (
	"fmt"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/expr"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// Key compiles what tells the items of a consumer apart: a path into the event,
// alert or message, or an expression in CEL over it. What it returns may be
// called by many goroutines at once, and gives the empty key for an item that has
// none or cannot be read.
func Key(c bridge.Consumer) (func(bridge.Item) string, error) {
	key, err := expr.CompileKey(c.Affinity.Key)
	if err != nil {
		return nil, fmt.Errorf("mesh.affinity.%s: %w", c.Plugin, err)
	}
	switch c.Stage {
	case "analysis", "event-output":
		return func(item bridge.Item) string {
			var e pb.Event
			if proto.Unmarshal(item.Body, &e) != nil {
				return ""
			}
			return key.Of(expr.FromEvent(&e))
		}, nil
	case "correlation", "alert-output":
		return func(item bridge.Item) string {
			var a pb.Alert
			if proto.Unmarshal(item.Body, &a) != nil {
				return ""
			}
			return key.Of(expr.FromAlert(&a))
		}, nil
	case "notification":
		return func(item bridge.Item) string {
			var m pb.Message
			if bridge.IsEngine(item.Subject) || proto.Unmarshal(item.Body, &m) != nil {
				return ""
			}
			return key.Of(expr.FromMessage(&m))
		}, nil
	}
	return nil, fmt.Errorf("mesh.affinity.%s: plugins of stage %s have no affinity", c.Plugin, c.Stage)
}
