package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// programEnv tells the test binary that it was started to be a program.
const programEnv = "EPMESH_INTEGRATION_PROGRAM"

// program is what a process of the test binary is: a plugin, the way the SDK
// makes them, that writes down what it is given before it answers; a plugin's
// child; or a NATS server.
type program struct {
	Kind    plugin.Kind
	Name    string
	Records string // folder of what it writes down
	Kit     bool   // served by the kit, with the batch lane, instead
	Marks   bool   // of a parsing plugin: mark drafts by what is in them
	Ponders bool   // of an analysis plugin: take its time, one event after the other
	Child   bool   // start a child that ignores signals and the parent's end
	Raw     bool   // of an output plugin: write down the raw text of events too
	Frail   bool   // slow while a file says so, and dead over poisonous logs

	Poll  bool // be an input that counts
	Count bool // of an analysis plugin: write down who counted what, and when

	NATS *natsProgram
}

// runProgram does not return where this process is to be a program.
func runProgram() {
	text := os.Getenv(programEnv)
	if text == "" {
		return
	}
	var p program
	err := json.Unmarshal([]byte(text), &p)
	switch {
	case err != nil:
	case p.NATS != nil:
		err = p.NATS.run()
	case p.Poll:
		err = p.poll()
	case p.Kind == "":
		err = p.linger()
	default:
		err = p.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (p program) env() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // cannot be: texts
	}
	return programEnv + "=" + string(text)
}

// install puts the program where the node in dir finds and starts it.
func (p program) install(t *testing.T, dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(p.Records, 0o750); err != nil {
		t.Fatal(err)
	}
	key, value, _ := strings.Cut(p.env(), "=")
	script := fmt.Sprintf("#!/bin/sh\nexport %s='%s'\nexec '%s'\n", key, value, self)
	file := filepath.Join(dir, "plugins", p.Name+".plugin")
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(script), 0o750); err != nil {
		t.Fatal(err)
	}
}

// alone notes the process and says so where another of its name still runs. The
// lock goes with the process, however it ends.
func (p program) alone() error {
	lock, err := os.OpenFile(filepath.Join(p.Records, p.Name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		if err := p.note("twice", fmt.Sprint(os.Getpid())); err != nil {
			return err
		}
	}
	// The descriptor stays open until the process ends.
	if err := p.note("pids", fmt.Sprint(os.Getpid())); err != nil {
		return err
	}
	if !p.Child {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), program{Name: p.Name + "-child", Records: p.Records}.env())
	return cmd.Start()
}

// linger is the child: only SIGKILL ends it.
func (p program) linger() error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := p.alone(); err != nil {
		return err
	}
	r, w, err := os.Pipe() // which nothing is ever written to
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = r.Read(make([]byte, 1))
	return err
}

// note adds a line to a record, in one write: a process that is killed leaves
// whole lines.
func (p program) note(record string, fields ...string) error {
	if p.Frail && record != "pids" {
		p.dawdle()
	}
	f, err := os.OpenFile(filepath.Join(p.Records, p.Name+"."+record), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strings.Join(fields, " ") + "\n")
	return err
}

// dawdle takes its time where the file of that name is there.
func (p program) dawdle() {
	if _, err := os.Stat(filepath.Join(p.Records, p.Name+".slow")); err == nil {
		<-time.After(100 * time.Millisecond)
	}
}

func (p program) run() error {
	if err := p.alone(); err != nil {
		return err
	}
	if p.Kit {
		return p.serveByKit()
	}
	path := filepath.Join(os.Getenv("WORK_DIR"), "sockets", plugin.SocketName(p.Kind, p.Name))
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	switch p.Kind {
	case plugin.Parsing:
		if p.Marks {
			pb.RegisterParsingServer(s, marker{p: p})
			break
		}
		pb.RegisterParsingServer(s, stamper{p: p})
	case plugin.Analysis:
		if p.Ponders {
			pb.RegisterAnalysisServer(s, ponderer{p: p, mu: new(sync.Mutex)})
			break
		}
		if p.Count {
			pb.RegisterAnalysisServer(s, counter{p: p})
		} else {
			pb.RegisterAnalysisServer(s, judge{p: p})
		}
	case plugin.Correlation:
		pb.RegisterCorrelationServer(s, collector{p: p})
	case plugin.Output:
		pb.RegisterOutputServer(s, archive{p: p})
	default:
		return fmt.Errorf("no program of kind %q", p.Kind)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		s.GracefulStop()
	}()
	return s.Serve(l)
}

// stamper marks every draft.
type stamper struct {
	pb.UnimplementedParsingServer
	p program
}

func (s stamper) ParseLog(_ context.Context, tr *pb.Transform) (*pb.Draft, error) {
	if err := s.p.note("drafts", gjson.Get(tr.GetDraft().GetLog(), "id").String()); err != nil {
		return nil, err
	}
	if s.p.Frail && gjson.Get(tr.GetDraft().GetLog(), "log.poison").Bool() {
		os.Exit(1)
	}
	log, err := sjson.Set(tr.GetDraft().GetLog(), "log.custom_status", "processed_by_plugin")
	if err != nil {
		return nil, err
	}
	tr.Draft.Log = log
	return tr.GetDraft(), nil
}

// rule is the name of the judge's alerts.
const rule = "each"

// judge answers one alert an event, with an id of its own making, and ends as
// plugins of the SDK do.
type judge struct {
	pb.UnimplementedAnalysisServer
	p program
}

func (j judge) Analyze(e *pb.Event, stream grpc.ServerStreamingServer[pb.Alert]) error {
	if err := j.p.note("events", e.GetId()); err != nil {
		return err
	}
	if err := stream.Send(&pb.Alert{Id: uuid.NewString(), Name: rule, Events: []*pb.Event{{Id: e.GetId()}}}); err != nil {
		return err
	}
	return io.EOF
}

// noteAlert writes down which alert it is, and which event it is about.
func (p program) noteAlert(a *pb.Alert) error {
	if len(a.GetEvents()) != 1 {
		return fmt.Errorf("alert %s has %d events", a.GetId(), len(a.GetEvents()))
	}
	return p.note("alerts", a.GetId(), a.GetEvents()[0].GetId(), a.GetName())
}

// collector is a correlation plugin.
type collector struct {
	pb.UnimplementedCorrelationServer
	p program
}

func (c collector) Correlate(_ context.Context, a *pb.Alert) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, c.p.noteAlert(a)
}

// archive is an output plugin.
type archive struct {
	pb.UnimplementedOutputServer
	p program
}

func (a archive) EventOutput(_ context.Context, e *pb.Event) (*emptypb.Empty, error) {
	if a.p.Raw {
		return &emptypb.Empty{}, a.p.note("raws", e.GetId(), url.QueryEscape(e.GetRaw()))
	}
	status := e.GetLog()["custom_status"].GetStringValue()
	if status == "" {
		status = "none"
	}
	if name := e.GetLog()["ledger"].GetStringValue(); name != "" {
		if err := a.p.note("ledger", e.GetId(), name); err != nil {
			return nil, err
		}
	}
	return &emptypb.Empty{}, a.p.note("events", e.GetId(), status)
}

func (a archive) AlertOutput(_ context.Context, alert *pb.Alert) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, a.p.noteAlert(alert)
}

// records are the lines of a record, cut into fields. Each must have n.
func records(t *testing.T, folder, name string, n int) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != n || !strings.HasSuffix(line, "\n") {
			t.Fatalf("record %s: line %q", name, line)
		}
		all = append(all, f)
	}
	return all
}
