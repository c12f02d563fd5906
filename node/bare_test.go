package node_test

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge/bridgetest"
	"github.com/epmesh/epmesh/integration/shortdir"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// bareNode is the way of the data as one writes it with the generated gRPC code
// and a plain JetStream client: one message a log, each as asynchronous as
// these allow. It has no defaults, ids, retries or dead letters. Benchmarks are
// given as a ratio to it.
type bareNode struct {
	pb.UnimplementedEngineServer
	js     *bridgetest.Bare
	socket string
}

func startBare(b testing.TB, sync time.Duration) *bareNode {
	b.Helper()
	n := &bareNode{js: bridgetest.NewBare(b, sync, "LOG", "EVENT", "ALERT"), socket: filepath.Join(shortdir.New(b), "engine.sock")}
	l, err := net.Listen("unix", n.socket)
	if err != nil {
		b.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterEngineServer(g, n)
	go func() { _ = g.Serve(l) }()
	b.Cleanup(g.Stop)
	return n
}

// Input stores each log, and acks each in order.
func (n *bareNode) Input(st grpc.BidiStreamingServer[pb.Log, pb.Ack]) error {
	type taken struct {
		id     string
		stored bridgetest.Stored
	}
	queue := make(chan taken, 4096)
	acked := make(chan error, 1)
	go func() {
		var failed error
		for t := range queue {
			err := t.stored.Wait()
			if err == nil {
				err = st.Send(&pb.Ack{LastId: t.id})
			}
			if failed == nil {
				failed = err
			}
		}
		acked <- failed
	}()
	for {
		l, err := st.Recv()
		var data []byte
		if err == nil {
			data, err = proto.Marshal(l)
		}
		var stored bridgetest.Stored
		if err == nil {
			stored, err = n.js.Publish("LOG", data)
		}
		if err != nil {
			close(queue)
			if failed := <-acked; err == io.EOF {
				err = failed
			}
			return err
		}
		queue <- taken{l.GetId(), stored}
	}
}

// parse is the one step `json: {source: raw}`.
func (n *bareNode) parse(data []byte) ([]byte, error) {
	var l pb.Log
	if err := proto.Unmarshal(data, &l); err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(l.GetRaw()), &fields); err != nil {
		return nil, err
	}
	s, err := structpb.NewStruct(fields)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&pb.Event{
		Id: l.GetId(), Timestamp: l.GetTimestamp(), DataType: l.GetDataType(), DataSource: l.GetDataSource(),
		TenantId: l.GetTenantId(), Raw: l.GetRaw(), Log: s.GetFields(),
	})
}

// serve runs the stages until the test ends.
func (n *bareNode) serve(analysis pb.AnalysisClient, correlation pb.CorrelationClient) {
	go func() { _ = n.js.Hop("LOG", "EVENT", math.MaxInt, n.parse) }()
	go func() {
		_ = n.js.Take("EVENT", math.MaxInt, func(t bridgetest.Taken) error {
			var e pb.Event
			if err := proto.Unmarshal(t.Data(), &e); err != nil {
				return err
			}
			alerts, err := analysis.Analyze(context.Background(), &e, grpc.WaitForReady(true))
			for err == nil {
				var a *pb.Alert
				if a, err = alerts.Recv(); err != nil {
					break
				}
				var data []byte
				if data, err = proto.Marshal(a); err != nil {
					break
				}
				var stored bridgetest.Stored
				if stored, err = n.js.Publish("ALERT", data); err == nil {
					err = stored.Wait()
				}
			}
			t.Ack()
			return nil
		})
	}()
	go func() {
		_ = n.js.Take("ALERT", math.MaxInt, func(t bridgetest.Taken) error {
			var a pb.Alert
			if err := proto.Unmarshal(t.Data(), &a); err != nil {
				return err
			}
			_, err := correlation.Correlate(context.Background(), &a, grpc.WaitForReady(true))
			t.Ack()
			return err
		})
	}()
}

// dial is a connection to a socket with the settings that one gets by default.
func dial(b testing.TB, socket string) *grpc.ClientConn {
	b.Helper()
	cc, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cc.Close() })
	return cc
}
