package main

import (
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

func TestItemLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for _, c := range []struct {
		name string
		m    proto.Message
		want string
	}{
		{"log", &pb.Log{DataType: "syslog", DataSource: "web-1", Raw: "hello\x1b[2J\nworld"}, "03:04:05  syslog       web-1                hello [2J world"},
		{"event", &pb.Event{
			DataType: "sshd", DataSource: "web-1", Action: "login", ActionResult: "failed",
			Origin: &pb.Side{User: "bob", Ip: "203.0.113.7"}, Target: &pb.Side{Host: "web-1.example.com"},
		}, "03:04:05  sshd         web-1                login failed bob@203.0.113.7 -> web-1.example.com"},
		{"bare event", &pb.Event{DataType: "syslog", DataSource: "web-1", Raw: "a line"}, "03:04:05  syslog       web-1                a line"},
		{
			"event with errors", &pb.Event{DataType: "x", DataSource: "y", Errors: []string{"grok: no", "kv: no"}},
			"03:04:05  x            y                    [2 errors: grok: no]",
		},
		{"alert", &pb.Alert{
			Severity: "high", Name: "SSH brute force", Adversary: &pb.Side{Ip: "203.0.113.7"}, DataSource: "web-1", Events: []*pb.Event{{}},
		}, "03:04:05  HIGH    SSH brute force  203.0.113.7 -> web-1 (1 event)"},
		{"bare alert", &pb.Alert{Name: "odd"}, "03:04:05  -       odd"},
		{"message", &pb.Message{Topic: "incidents", Message: `{"summary":"HIGH thing","x":1}`}, "03:04:05  incidents        HIGH thing"},
		{"text message", &pb.Message{Topic: "note", Message: "plain"}, "03:04:05  note             plain"},
		{"draft", &pb.Handover{Draft: &pb.Draft{Pipeline: 1, Step: 2, Log: `{"a":1}`}}, `03:04:05  pipeline 1 step 2  {"a":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fit(itemLine(at, c.m), 200); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{
		{"short", 10, "short"},
		{"exactly ten", 11, "exactly ten"},
		{"too long for it", 8, "too lon…"},
		{"äöüß€", 4, "äöü…"},
		{"bad \xff\xfe bytes", 20, "bad   bytes"},
		{"right to left \u202e evil", 40, "right to left   evil"},
		{strings.Repeat("€", 1000), 5, "€€€€…"},
		{"tail   ", 10, "tail"},
	} {
		if got := fit(c.in, c.width); got != c.want {
			t.Errorf("fit(%q, %d) = %q, want %q", c.in, c.width, got, c.want)
		}
	}
}

func TestSideName(t *testing.T) {
	for _, c := range []struct {
		side *pb.Side
		want string
	}{
		{nil, ""},
		{&pb.Side{User: "bob"}, "bob"},
		{&pb.Side{User: "bob", Host: "h"}, "bob@h"},
		{&pb.Side{Domain: "example.com"}, "example.com"},
		{&pb.Side{Ip: "10.0.0.1", Host: "h"}, "10.0.0.1"},
	} {
		if got := sideName(c.side); got != c.want {
			t.Errorf("%v: %q, want %q", c.side, got, c.want)
		}
	}
}

func TestDeadLine(t *testing.T) {
	d := bridge.DeadLetter{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), Stage: "analysis", Plugin: "cel", Attempts: 5, Reason: "it failed"}
	if got, want := deadLine(d), "03:04:05  analysis/cel  after 5 attempts: it failed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 3 * time.Second: "3s", 192 * time.Second: "3m12s",
		5*time.Hour + 3*time.Minute: "5h3m", 49 * time.Hour: "2d1h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %s, want %s", d, got, want)
		}
	}
}
