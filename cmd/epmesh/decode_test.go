package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

func body(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecode(t *testing.T) {
	id := bridge.NewID([]byte("x"))
	for _, c := range []struct {
		name, subject string
		m             proto.Message
		want          string
	}{
		{"log", bridge.LogSubject("t", "d"), &pb.Log{Id: "1", Timestamp: "now", Raw: "r"}, `{"id":"1","@timestamp":"now","raw":"r"}`},
		{"event", bridge.EventSubject("t", "d"), &pb.Event{Id: "1", Target: &pb.Side{BytesSent: 3}}, `{"id":"1","target":{"bytesSent":3}}`},
		{"alert", bridge.AlertSubject("t", "d"), &pb.Alert{Name: "n"}, `{"name":"n"}`},
		{"message", bridge.MessageSubject("a.b"), &pb.Message{Topic: "a.b"}, `{"topic":"a.b"}`},
		{"draft", bridge.DraftSubject("p", "t", "d"), &pb.Handover{Pipelines: "f"}, `{"pipelines":"f"}`},
		{
			"tally", bridge.EngineSubject("enqueue_success"),
			&pb.Tally{Topic: "enqueue_success", DataType: "d", DataSource: "s", Count: 5, Timestamp: "now"},
			`{"id":"` + id.String() + `","@timestamp":"now","topic":"enqueue_success","message":"{\"dataType\":\"d\",\"dataSource\":\"s\",\"count\":5}"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := decode(c.subject, id, body(t, c.m))
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.JSON(m)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	for subject, b := range map[string]string{"epmesh.other.x": "", "nothing": "", bridge.LogSubject("t", "d"): "\xff\xff"} {
		if _, err := decode(subject, id, []byte(b)); err == nil {
			t.Errorf("%s: no error", subject)
		}
	}
}

func TestLetter(t *testing.T) {
	d := bridge.DeadLetter{
		Sequence: 7, Time: time.Unix(5, 0), Received: 1e9, Stage: "analysis", Plugin: "cel", Node: "n", Attempts: 2, Reason: "why\x1b[1m",
		Subject: bridge.EventSubject("t", "d"), Consumer: "analysis-cel", Body: body(t, &pb.Event{Id: "1"}),
	}
	if l := wholeLetter(d); string(l.Body) != `{"id":"1"}` || l.Text != "" || l.Received == nil {
		t.Errorf("got %+v", l)
	}
	if l := letter(d); l.Body != nil || l.Size != len(d.Body) {
		t.Errorf("got %+v", l)
	}
	text := letterText(wholeLetter(d))
	for _, want := range []string{"sequence   7\n", "stage      analysis/cel\n", "reason     why [1m\n", "\n  \"id\": \"1\"\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}

	d.Body = []byte("\xff\x00 raw\x1b")
	l := wholeLetter(d)
	if l.Text != `\xff\x00 raw\x1b` || l.Undecodable == "" || l.Body != nil {
		t.Errorf("got %+v", l)
	}
	if _, err := json.Marshal(l); err != nil {
		t.Error(err)
	}
	if text := letterText(l); !strings.HasSuffix(text, "\n"+`\xff\x00 raw\x1b`+"\n") {
		t.Errorf("got %s", text)
	}
}
