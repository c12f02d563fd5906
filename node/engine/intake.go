package engine

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/wire"
)

// maxID is the longest id that is echoed in an Ack: a sender must be able to
// receive it.
const maxID = 64 << 10

// entry is one received frame: an item to store, or one to refuse for the
// reason that text says.
type entry struct {
	item   bridge.Item
	ackID  []byte
	reason reason
	text   string
}

// intake completes the frames of one stream. It is used by one goroutine.
type intake struct {
	tenant string
	maxLog int

	subjects map[string]string // by the fields they are made of
	key      []byte
}

// log makes an item of a Log.
func (in *intake) log(frame []byte, now time.Time) entry {
	f, err := wire.ScanLog(frame)
	e := in.entry(frame, f.ID, err, now)
	if e.reason == taken && len(f.Raw) == 0 {
		e.refuse(emptyRaw, "raw is empty")
	}
	defaults := wire.LogDefaults{Tenant: in.tenant, Now: now}
	if len(f.ID) == 0 {
		defaults.ID = string(e.ackID)
	}
	var room [5]wire.Text
	if missing := f.Missing(room[:0], defaults); len(missing) > 0 && e.reason != malformed {
		e.item.Body = wire.AppendTexts(frame, missing...)
	}
	tenant, dataType := f.TenantID, f.DataType
	if len(tenant) == 0 {
		tenant = []byte(in.tenant)
	}
	if len(dataType) == 0 {
		dataType = []byte(wire.DefaultDataType)
	}
	e.item.Subject = in.subject(tenant, dataType, bridge.LogSubject)
	return e
}

// message makes an item of a Message.
func (in *intake) message(frame []byte, now time.Time) entry {
	f, err := wire.ScanMessage(frame)
	e := in.entry(frame, f.ID, err, now)
	if e.reason == taken && len(f.Topic) == 0 {
		e.refuse(noTopic, "topic is empty")
	}
	var missing [2]wire.Text
	n := 0
	if len(f.ID) == 0 {
		missing[n] = wire.Text{Number: wire.MessageID, Value: string(e.ackID)}
		n++
	}
	if len(f.Timestamp) == 0 {
		missing[n] = wire.Text{Number: wire.MessageTimestamp, Value: wire.Timestamp(now)}
		n++
	}
	if n > 0 && e.reason != malformed {
		e.item.Body = wire.AppendTexts(frame, missing[:n]...)
	}
	e.item.Subject = in.subject(f.Topic, nil, func(topic, _ string) string { return bridge.MessageSubject(topic) })
	return e
}

// entry is what logs and messages have in common: identity, the id to ack, and
// the checks of the frame as a whole.
func (in *intake) entry(frame, id []byte, err error, now time.Time) entry {
	e := entry{
		item:  bridge.Item{Received: now.UnixNano(), Body: frame},
		ackID: id,
	}
	switch {
	case len(frame) > in.maxLog:
		e.refuse(tooLarge, fmt.Sprintf("%d bytes, over the limit of %d (input.max_log)", len(frame), in.maxLog))
	case errors.Is(err, wire.ErrUTF8):
		e.refuse(notUTF8, err.Error())
	case err != nil:
		e.refuse(malformed, err.Error())
	case len(id) > maxID:
		e.refuse(longID, fmt.Sprintf("id of %d bytes, over the limit of %d", len(id), maxID))
	}
	// An Ack is a protobuf message too: an id that cannot be echoed is acked
	// by an assigned one, like a missing one.
	if len(id) == 0 || len(id) > maxID || !utf8.Valid(id) {
		e.ackID = []byte(uuid.NewString())
	}
	// The same bytes sent again are the same log, but two logs that were sent
	// without an id are two.
	if len(id) == 0 {
		e.item.ID = bridge.NewID(frame, e.ackID)
	} else {
		e.item.ID = bridge.NewID(frame)
	}
	return e
}

func (e *entry) refuse(r reason, text string) { e.reason, e.text = r, text }

// maxSubjects bounds the subjects that a stream remembers.
const maxSubjects = 256

// subject is what build makes of a and b, remembered: a stream's logs share
// few subjects.
func (in *intake) subject(a, b []byte, build func(a, b string) string) string {
	in.key = append(append(append(in.key[:0], a...), 0), b...)
	if s, ok := in.subjects[string(in.key)]; ok {
		return s
	}
	s := build(string(a), string(b))
	if len(in.key) > 1024 {
		in.key = nil
		return s
	}
	if len(in.subjects) >= maxSubjects {
		clear(in.subjects)
	}
	if in.subjects == nil {
		in.subjects = make(map[string]string)
	}
	in.subjects[string(in.key)] = s
	return s
}
