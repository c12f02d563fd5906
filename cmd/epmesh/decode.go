package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// kind is what a subject carries: log, draft, event, alert, message or engine.
func kind(subject string) string {
	_, rest, _ := strings.Cut(subject, ".")
	word, _, _ := strings.Cut(rest, ".")
	return word
}

// decode reads an item's body by the subject that it is stored under.
func decode(subject string, id bridge.ID, body []byte) (proto.Message, error) {
	var m proto.Message
	switch kind(subject) {
	case "log":
		m = &pb.Log{}
	case "draft":
		m = &pb.Handover{}
	case "event":
		m = &pb.Event{}
	case "alert":
		m = &pb.Alert{}
	case "message":
		m = &pb.Message{}
	case "engine":
		m = &pb.Tally{}
	default:
		return nil, fmt.Errorf("subject %q is none of a stage", subject)
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind(subject), err)
	}
	if t, ok := m.(*pb.Tally); ok {
		return tallied(id, t)
	}
	return m, nil
}

// tallied is a tally in the form that plugins are given engine messages in; the
// number that it stands for is beside their data.
func tallied(id bridge.ID, t *pb.Tally) (*pb.Message, error) {
	text, err := json.Marshal(struct {
		DataType   string `json:"dataType"`
		DataSource string `json:"dataSource"`
		Count      uint64 `json:"count"`
	}{t.GetDataType(), t.GetDataSource(), t.GetCount()})
	if err != nil {
		return nil, fmt.Errorf("encode tally: %w", err)
	}
	return &pb.Message{Id: id.String(), Timestamp: t.GetTimestamp(), Topic: t.GetTopic(), Message: string(text)}, nil
}

// letterJSON is a dead letter as commands print it.
type letterJSON struct {
	// Sequence names the dead letter; a tap does not know it.
	Sequence uint64    `json:"sequence,omitempty"`
	Time     time.Time `json:"time"`
	Stage    string    `json:"stage"`
	Plugin   string    `json:"plugin,omitempty"`
	Node     string    `json:"node"`
	Attempts int       `json:"attempts"`
	Reason   string    `json:"reason"`
	// Item is the identity of what was given up.
	Item     string     `json:"item"`
	Received *time.Time `json:"received,omitempty"`
	Subject  string     `json:"subject"`
	Consumer string     `json:"consumer,omitempty"`
	Size     int        `json:"size"` // of the body, in bytes

	// Body is the item as protobuf-JSON; where it cannot be decoded, Text is it
	// with escapes, and Undecodable says why.
	Body        json.RawMessage `json:"body,omitempty"`
	Text        string          `json:"text,omitempty"`
	Undecodable string          `json:"undecodable,omitempty"`
}

// letter is a dead letter without its body.
func letter(d bridge.DeadLetter) letterJSON {
	l := letterJSON{
		Sequence: d.Sequence, Time: d.Time.UTC(), Stage: d.Stage, Plugin: d.Plugin, Node: d.Node, Attempts: d.Attempts,
		Reason: d.Reason, Item: d.ID.String(), Subject: d.Subject, Consumer: d.Consumer, Size: len(d.Body),
	}
	if d.Received > 0 {
		at := time.Unix(0, d.Received).UTC()
		l.Received = &at
	}
	return l
}

// wholeLetter is a dead letter with its body.
func wholeLetter(d bridge.DeadLetter) letterJSON {
	l := letter(d)
	m, err := decode(d.Subject, d.ID, d.Body)
	if err == nil {
		l.Body, err = wire.JSON(m)
	}
	if err != nil {
		l.Text, l.Undecodable = escaped(d.Body), err.Error()
	}
	return l
}

// escaped is bytes as text in which nothing is lost or does anything to a
// terminal.
func escaped(b []byte) string {
	q := strconv.Quote(string(b))
	return q[1 : len(q)-1]
}
