package conform_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidwall/sjson"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/epmesh/epmesh/proto"
)

// roleEnv names what a process of this test binary plays: a kind, a colon and
// what is wrong with it.
const roleEnv = "EPMESH_CONFORM_ROLE"

// play is the whole life of such a process.
func play(role string) {
	kind, fault, _ := strings.Cut(role, ":")
	var err error
	if kind == "input" {
		err = playInput(fault)
	} else {
		err = playServer(kind, fault)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// role is a plugin called t with everything that can be wrong with one that is
// called.
type role struct {
	pb.UnimplementedParsingServer
	pb.UnimplementedAnalysisServer
	pb.UnimplementedCorrelationServer
	fault string
	count atomic.Int64
	mu    sync.Mutex
	last  string // a draft that calls share, where that is the fault
	wedge chan struct{}
	send  func(id string)
}

func playServer(kind, fault string) error {
	dir := os.Getenv("WORK_DIR")
	name := "t"
	if fault == "othername" {
		name = "somebody"
	}
	path := filepath.Join(dir, "sockets", name+"_"+kind+".sock")
	if fault != "stale" {
		os.Remove(path)
	}
	switch fault {
	case "exits":
		return nil
	case "nosocket":
		select {}
	case "chatty":
		for i := range 5000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
	case "orphan":
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
	case "child":
		if err := exec.Command("sh", "-c", "trap '' TERM; exec sleep 60").Start(); err != nil {
			return err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	switch fault {
	case "open":
		if err := os.Chmod(path, 0o777); err != nil {
			return err
		}
	case "keepssocket":
		l.SetUnlinkOnClose(false)
	case "nogrpc":
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			_, _ = io.WriteString(c, "220 welcome\r\n")
		}
	}
	s := grpc.NewServer()
	r := &role{fault: fault, wedge: make(chan struct{}, 1)}
	switch kind {
	case "parsing":
		pb.RegisterParsingServer(s, r)
	case "analysis":
		pb.RegisterAnalysisServer(s, r)
	case "correlation":
		stream, err := notifyStream(dir)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		r.send = func(id string) {
			mu.Lock()
			defer mu.Unlock()
			_ = stream.Send(&pb.Message{Id: id, Topic: "t", Message: "{}"})
		}
		pb.RegisterCorrelationServer(s, r)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		switch fault {
		case "ignoresterm":
		case "failsonterm":
			os.Remove(path)
			os.Exit(3)
		case "diesofterm":
			os.Remove(path)
			signal.Reset(syscall.SIGTERM)
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		default:
			s.GracefulStop()
		}
	}()
	return s.Serve(l)
}

func notifyStream(dir string) (grpc.BidiStreamingClient[pb.Message, pb.Ack], error) {
	cc, err := grpc.NewClient("unix://"+filepath.Join(dir, "sockets", "engine_server.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	s, err := pb.NewEngineClient(cc).Notify(context.Background(), grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			if _, err := s.Recv(); err != nil {
				return
			}
		}
	}()
	return s, nil
}

func (r *role) ParseLog(ctx context.Context, t *pb.Transform) (*pb.Draft, error) {
	d := t.GetDraft()
	if d == nil && r.fault != "panics" {
		return nil, errors.New("no draft")
	}
	switch r.fault {
	case "clock":
		log, err := sjson.Set(d.GetLog(), "log.seen", r.count.Add(1))
		if err != nil {
			return nil, err
		}
		d.Log = log
	case "dropsraw":
		d.Log, _ = sjson.Delete(d.GetLog(), "raw")
	case "nojson":
		d.Log = "parsed: " + d.GetLog()
	case "badtype":
		d.Log, _ = sjson.Set(d.GetLog(), "origin.port", "ssh")
	case "newdraft":
		return &pb.Draft{Log: d.GetLog()}, nil
	case "mixes":
		r.mu.Lock()
		r.last = d.GetLog()
		r.mu.Unlock()
		<-time.After(time.Millisecond)
		r.mu.Lock()
		defer r.mu.Unlock()
		return &pb.Draft{Log: r.last, Step: d.GetStep(), Pipeline: d.GetPipeline(), Errors: d.GetErrors()}, nil
	case "one": // takes one call at a time, and for long
		r.mu.Lock()
		defer r.mu.Unlock()
		<-time.After(4 * time.Millisecond)
	case "wedges": // a call that is given up never lets go
		r.mu.Lock()
		if strings.Contains(d.GetLog(), "given-up") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		r.mu.Unlock()
	case "panics":
		_ = t.Draft.Log
	case "hangs":
		<-ctx.Done()
	case "refuses":
		return nil, errors.New("nothing pleases me")
	case "smallreceive":
		if len(d.GetLog()) > 1<<20 {
			return nil, status.Error(codes.ResourceExhausted, "too large for me")
		}
	}
	return d, nil
}

func (r *role) Analyze(e *pb.Event, out grpc.ServerStreamingServer[pb.Alert]) error {
	alert := &pb.Alert{Id: "t-" + e.GetId(), Name: "seen", TenantId: e.GetTenantId(), Events: []*pb.Event{e}}
	switch r.fault {
	case "randomid":
		alert.Id = fmt.Sprint("t-", r.count.Add(1))
	case "othertenant":
		alert.TenantId = "mine"
	case "flood":
		for range 2000 {
			if err := out.Send(alert); err != nil {
				return err
			}
		}
	}
	if err := out.Send(alert); err != nil {
		return err
	}
	return io.EOF // as the SDK's plugins end it
}

func (r *role) Correlate(_ context.Context, a *pb.Alert) (*emptypb.Empty, error) {
	if r.fault == "randomid" {
		r.send(fmt.Sprint("m-", r.count.Add(1)))
	} else {
		r.send("m-" + a.GetId())
	}
	return nil, nil // as the SDK's plugins answer
}
