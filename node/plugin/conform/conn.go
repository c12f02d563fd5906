package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

const (
	// A node sends at most this, the receive limit of gRPC and so of SDK plugins,
	// and takes at most maxReply, which a stream can store.
	maxMessage = 4 << 20
	maxReply   = 8 << 20
	maxAlerts  = 1000
)

// conn is a connection to a plugin.
type conn struct {
	cc      *grpc.ClientConn
	timeout time.Duration
}

func dialUnix(path string) (net.Conn, error) { return net.DialTimeout("unix", path, time.Second) }

// dial connects and returns once the plugin speaks gRPC.
func dial(ctx context.Context, path string, timeout time.Duration) (*conn, error) {
	first, err := dialUnix(path) // gRPC's own error would hide the system's
	if err != nil {
		return nil, err
	}
	first.Close()
	cc, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20), grpc.MaxCallRecvMsgSize(maxReply)),
	)
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cc.Connect()
	for {
		state := cc.GetState()
		if state == connectivity.Ready {
			return &conn{cc, timeout}, nil
		}
		if state == connectivity.TransientFailure || !cc.WaitForStateChange(ready, state) {
			cc.Close()
			return nil, fmt.Errorf("something listens, but not as a gRPC server (%v)", state)
		}
	}
}

func (c *conn) close() { c.cc.Close() }

// reply is what a plugin answered.
type reply struct {
	draft  *pb.Draft
	alerts []*pb.Alert
}

func (r reply) size() int {
	n := 0
	if r.draft != nil {
		n = proto.Size(r.draft)
	}
	for _, a := range r.alerts {
		n += proto.Size(a)
	}
	return n
}

// methods are the calls of the kinds, by the message that they take.
var methods = map[plugin.Kind]string{
	plugin.Parsing:      pb.Parsing_ParseLog_FullMethodName,
	plugin.Analysis:     pb.Analysis_Analyze_FullMethodName,
	plugin.Correlation:  pb.Correlation_Correlate_FullMethodName,
	plugin.Notification: pb.Notification_Notify_FullMethodName,
	plugin.Output:       pb.Output_EventOutput_FullMethodName,
}

// method is what an item of a kind is handed to.
func method(kind plugin.Kind, item proto.Message) string {
	if _, ok := item.(*pb.Alert); ok && kind == plugin.Output {
		return pb.Output_AlertOutput_FullMethodName
	}
	return methods[kind]
}

// call hands one item to the plugin, as a node does.
func (c *conn) call(ctx context.Context, kind plugin.Kind, item proto.Message, opts ...grpc.CallOption) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.callWithin(ctx, kind, item, opts...)
}

// callWithin is call for as long as ctx allows.
func (c *conn) callWithin(ctx context.Context, kind plugin.Kind, item proto.Message, opts ...grpc.CallOption) (reply, error) {
	switch kind {
	case plugin.Parsing:
		draft := new(pb.Draft)
		err := c.cc.Invoke(ctx, method(kind, item), item, draft, opts...)
		return reply{draft: draft}, noReply(err)
	case plugin.Analysis:
		alerts, err := c.analyze(ctx, item, opts...)
		return reply{alerts: alerts}, err
	}
	err := noReply(c.cc.Invoke(ctx, method(kind, item), item, new(emptypb.Empty), opts...))
	if kind == plugin.Output && status.Code(err) == codes.Unimplemented {
		err = nil // it wants none of these
	}
	return reply{}, err
}

var errTooMany = errors.New("answered one event with more than 1000 alerts, the most that a node takes")

func (c *conn) analyze(ctx context.Context, item proto.Message, opts ...grpc.CallOption) ([]*pb.Alert, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.cc.NewStream(ctx, &pb.Analysis_ServiceDesc.Streams[0], pb.Analysis_Analyze_FullMethodName, opts...)
	if err != nil {
		return nil, err
	}
	if err := s.SendMsg(item); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := s.CloseSend(); err != nil {
		return nil, err
	}
	var alerts []*pb.Alert
	for {
		a := new(pb.Alert)
		err := s.RecvMsg(a)
		switch {
		case errors.Is(err, io.EOF), status.Code(err) == codes.Unknown && status.Convert(err).Message() == "EOF":
			return alerts, nil
		case err != nil:
			return alerts, err
		case proto.Size(a) == 0:
			continue
		}
		if alerts = append(alerts, a); len(alerts) > maxAlerts {
			return alerts, errTooMany
		}
	}
}

// noReply takes an OK without a message for success, as a node does: SDK plugins
// answer so.
func noReply(err error) error {
	st := status.Convert(err)
	if st.Code() == codes.Internal && strings.HasPrefix(st.Message(), "cardinality violation: received no response message") {
		return nil
	}
	return err
}

// notUTF8 reports whether a reply was refused for a text that is not UTF-8.
func notUTF8(err error) bool {
	return strings.Contains(status.Convert(err).Message(), "invalid UTF-8")
}

// words are a call's error for people.
func words(err error) string {
	st, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	return fmt.Sprintf("%s (%s)", st.Message(), st.Code())
}
