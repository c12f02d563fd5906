package conform_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/epmesh/epmesh/proto"
)

// window is how many logs the input waits for the Acks of.
const window = 200

// input is an input plugin that sends numbered logs, with everything that can be
// wrong with one.
type input struct {
	fault  string
	next   int
	queue  []*pb.Log // not acked, oldest first
	hoard  [][]byte
	client pb.EngineClient
}

func playInput(fault string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if fault == "ignoresterm" {
		ctx = context.Background()
	}
	in := &input{fault: fault}
	for ctx.Err() == nil {
		cc, err := grpc.NewClient("unix://"+filepath.Join(os.Getenv("WORK_DIR"), "sockets", "engine_server.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		in.client = pb.NewEngineClient(cc)
		err = in.stream(ctx)
		cc.Close()
		if ctx.Err() != nil {
			return nil
		}
		switch fault {
		case "ends": // and is to be started again
			return err
		case "zombie":
			<-ctx.Done()
		case "forgets":
			in.queue = nil
		case "newids":
			for _, l := range in.queue {
				l.Id += "'"
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	return nil
}

// stream sends on one stream until it breaks or ctx ends.
func (in *input) stream(ctx context.Context) error {
	streamCtx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := in.client.Input(streamCtx)
	if err != nil {
		return err
	}
	acks := make(chan string, 1000)
	broken := make(chan error, 1)
	go func() {
		for {
			ack, err := s.Recv()
			if err != nil {
				broken <- err
				return
			}
			select {
			case acks <- ack.GetLastId():
			case <-streamCtx.Done():
			}
		}
	}()
	for _, l := range in.queue {
		if err := s.Send(l); err != nil {
			return err
		}
	}
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for {
		ready := tick.C
		if len(in.queue) >= window && in.fault != "noacks" && in.fault != "hoards" && in.fault != "drops" {
			ready = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case id := <-acks:
			in.acked(id)
		case <-ready:
			in.next++
			l := in.log()
			switch {
			case in.fault == "drops" && len(in.queue) >= window:
				continue // instead of waiting
			case in.fault == "hoards":
				in.hoard = append(in.hoard, []byte(strings.Repeat("x", 1<<20)))
			}
			if in.fault == "silent" {
				continue
			}
			in.queue = append(in.queue, l)
			if err := s.Send(l); err != nil {
				return err
			}
		}
	}
}

func (in *input) log() *pb.Log {
	l := &pb.Log{Id: fmt.Sprint(os.Getpid(), "-", in.next), DataType: "t", DataSource: "s", Timestamp: "2026-01-02T03:04:05Z", Raw: fmt.Sprint("n=", in.next)}
	switch in.fault {
	case "empty":
		l.Raw = ""
	case "noid":
		l.Id = ""
	case "badtime":
		l.Timestamp = "yesterday"
	}
	return l
}

func (in *input) acked(id string) {
	for i, l := range in.queue {
		if l.GetId() == id {
			in.queue = in.queue[i+1:]
			if in.fault == "hoards" {
				in.hoard = nil
			}
			return
		}
	}
}
