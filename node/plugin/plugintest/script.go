// Package plugintest serves plugins for tests: over real gRPC, on a socket, the
// way the SDK does it (remove what is stale, bind, serve, stop gracefully), in
// the test's process or in one of their own, with behaviour that a test writes
// down.
package plugintest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tidwall/sjson"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	pb "github.com/epmesh/epmesh/proto"
)

// Script is how a plugin behaves. The zero value answers every call at once,
// and well: drafts as they came, no alerts.
type Script struct {
	// Set are values that ParseLog sets in the draft, by path.
	Set map[string]string
	// Alerts is how many alerts Analyze answers, each with the event inside.
	Alerts int
	// EmptyAlerts is how many alerts without content follow them.
	EmptyAlerts int
	// AlertSize pads the description of each alert.
	AlertSize int
	// EOF ends Analyze with the error "EOF", as SDK plugins do.
	EOF bool

	// Delay is the time before each answer.
	Delay time.Duration
	// Hang never answers.
	Hang bool
	// Code and Message are the answer, unless Code is OK.
	Code    codes.Code
	Message string
	// RetryInfo puts a google.rpc.RetryInfo into that answer.
	RetryInfo bool
	// Only restricts Delay, Hang and Code to items that contain this text.
	Only string
	// Poison is a text that kills the plugin when it is in an item.
	Poison string

	// Kit has the plugin served by the kit, with the batch lane, instead of by
	// gRPC alone as the SDK does it.
	Kit bool
	// MaxReceive is the largest message that is taken; gRPC's default if 0.
	MaxReceive int
	// Drop keeps no items for Server.Items.
	Drop bool
	// Record is a file that gets a line for each item, its id, before the
	// answer.
	Record string
}

// handler plays a script.
type handler struct {
	name   string
	script func() Script
	seen   func(proto.Message)
	die    func()
	stop   <-chan struct{} // ends what hangs
}

// item does what the script says for one item; its error is the answer.
func (h *handler) item(ctx context.Context, id string, m proto.Message) error {
	s := h.script()
	h.seen(m)
	text := func() string { return prototext.MarshalOptions{}.Format(m) }
	if s.Poison != "" && strings.Contains(text(), s.Poison) {
		h.die()
		return status.Error(codes.Unavailable, "died")
	}
	if s.Record != "" {
		if err := record(s.Record, id); err != nil {
			return err
		}
	}
	if s.Only != "" && !strings.Contains(text(), s.Only) {
		return nil
	}
	var wait <-chan time.Time
	if s.Delay > 0 {
		wait = time.After(s.Delay)
	}
	if s.Hang || wait != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.stop:
			return status.Error(codes.Unavailable, "stopping")
		case <-wait:
		}
	}
	if s.Code != codes.OK {
		st := status.New(s.Code, s.Message)
		if s.RetryInfo {
			detailed, err := st.WithDetails(&errdetails.RetryInfo{})
			if err != nil {
				return err
			}
			st = detailed
		}
		return st.Err()
	}
	return nil
}

// record appends one line in one write, so that many processes may share a file.
func record(file, id string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(id + "\n")
	return err
}

func (h *handler) draft(in *pb.Draft) (*pb.Draft, error) {
	out := proto.CloneOf(in)
	for path, value := range h.script().Set {
		log, err := sjson.Set(out.GetLog(), path, value)
		if err != nil {
			return nil, err
		}
		out.Log = log
	}
	return out, nil
}

func (h *handler) alerts(e *pb.Event) []*pb.Alert {
	s := h.script()
	var all []*pb.Alert
	for i := range s.Alerts {
		all = append(all, &pb.Alert{
			Id:          fmt.Sprintf("%s-%s-%d", e.GetId(), h.name, i),
			Name:        h.name,
			TenantId:    e.GetTenantId(),
			DataType:    e.GetDataType(),
			DataSource:  e.GetDataSource(),
			Description: strings.Repeat("x", s.AlertSize),
			Events:      []*pb.Event{e},
		})
	}
	for range s.EmptyAlerts {
		all = append(all, &pb.Alert{})
	}
	return all
}
