package main

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/expr"
	pb "github.com/epmesh/epmesh/proto"
)

// newTap is a tap that writes to memory.
func newTap(t *testing.T, c *tapCmd) (*tap, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	p := &tap{tapCmd: c, out: bufio.NewWriter(&out), width: 80}
	if c.Where != "" {
		var err error
		if p.where, err = expr.Compile(c.Where, nil); err != nil {
			t.Fatal(err)
		}
	}
	return p, &out
}

func TestTapWhere(t *testing.T) {
	item := func(subject string, b []byte) bridge.Tapped {
		return bridge.Tapped{Item: bridge.Item{Subject: subject, Body: b}}
	}
	for _, c := range []struct {
		name  string
		in    bridge.Tapped
		holds string
	}{
		{"log", item(bridge.LogSubject("t", "d"), body(t, &pb.Log{Raw: "abc"})), `contains("raw", "b")`},
		{"event", item(bridge.EventSubject("t", "d"), body(t, &pb.Event{Origin: &pb.Side{Ip: "10.1.2.3"}})), `inCIDR("origin.ip", "10.0.0.0/8")`},
		{"alert", item(bridge.AlertSubject("t", "d"), body(t, &pb.Alert{Severity: "high"})), `equals("severity", "high")`},
		{"message", item(bridge.MessageSubject("x"), body(t, &pb.Message{Topic: "x"})), `equals("topic", "x")`},
		{"draft", item(bridge.DraftSubject("p", "t", "d"), body(t, &pb.Handover{Draft: &pb.Draft{Log: `{"log":{"a":1}}`}})), `equals("log.a", 1)`},
		{
			"dead",
			bridge.Tapped{Dead: &bridge.DeadLetter{Stage: "parse", Subject: bridge.LogSubject("t", "d"), Body: body(t, &pb.Log{Raw: "abc"})}},
			`equals("stage", "parse") && equals("body.raw", "abc")`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for where, want := range map[string]int{c.holds: 1, "!(" + c.holds + ")": 0} {
				for _, asJSON := range []bool{true, false} {
					p, out := newTap(t, &tapCmd{Where: where, JSON: asJSON})
					if !p.take(c.in) || p.err != nil || p.failed > 0 {
						t.Fatalf("%s: %v, %v", where, p.err, p.lastFailure)
					}
					if got := bytes.Count(out.Bytes(), []byte("\n")); got != want {
						t.Errorf("%s: %d lines, want %d: %s", where, got, want, out)
					}
				}
			}
		})
	}
}

func TestTapCount(t *testing.T) {
	in := bridge.Tapped{Item: bridge.Item{Subject: bridge.LogSubject("t", "d"), Body: body(t, &pb.Log{Raw: "a\nb"})}}
	p, out := newTap(t, &tapCmd{JSON: true, Count: 2})
	if !p.take(in) {
		t.Error("ends after one of two")
	}
	if p.take(in) {
		t.Error("goes on after two of two")
	}
	if want := `{"raw":"a\nb"}` + "\n" + `{"raw":"a\nb"}` + "\n"; out.String() != want {
		t.Errorf("got %s", out)
	}
	in.Item.Body = []byte("\xff")
	if p.take(in) || p.err == nil {
		t.Error("what cannot be decoded is no error")
	}
}
