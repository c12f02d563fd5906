package bridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// DeadLetter is an item that was given up, and why.
type DeadLetter struct {
	ID       ID
	Received int64 // Unix nanoseconds
	Stage    string
	Plugin   string
	Node     string
	Attempts int
	Reason   string
	Time     time.Time
	// Subject is where the item came from and goes on replay. Consumer is who
	// gave it up: only that one gets it on replay. Empty for logs that the
	// engine socket refused.
	Subject  string
	Consumer string
	Body     []byte

	// Sequence is its place in the stream of dead letters, set by DeadLetters;
	// it is what a person names it by.
	Sequence uint64
	// source is the stream sequence of the message it was in: the same item
	// given up again after a replay is another dead letter.
	source uint64
	// parts are the stream sequences that hold it.
	parts []uint64
}

// maxReason bounds a stored reason, in bytes.
const maxReason = 8 << 10

func (r *run) letter(item Item, err error, msg jetstream.Msg) DeadLetter {
	d := DeadLetter{
		ID: item.ID, Received: item.Received, Stage: r.w.Consumer.Stage, Plugin: r.w.Consumer.Plugin,
		Attempts: max(item.Attempt, 1), Reason: err.Error(), Subject: item.Subject, Consumer: r.w.Consumer.Name(), Body: item.Body,
	}
	if meta, err := msg.Metadata(); err == nil {
		d.source = meta.Sequence.Stream
	}
	return d
}

// Dead stores dead letters and returns once they are stored. Node and Time may
// be left out. A body that is larger than a stored message is kept in parts.
func (b *Bridge) Dead(ctx context.Context, letters ...DeadLetter) error {
	var msgs []*nats.Msg
	for i := range letters {
		m, err := b.deadMessages(&letters[i])
		if err != nil {
			return err
		}
		msgs = append(msgs, m...)
	}
	if len(msgs) == 0 {
		return nil
	}
	if err := b.storeAll(ctx, msgs); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}

func (b *Bridge) deadMessages(d *DeadLetter) ([]*nats.Msg, error) {
	if d.Node == "" {
		d.Node = b.opts.Name
	}
	if d.Time.IsZero() {
		d.Time = time.Now()
	}
	if len(d.Reason) > maxReason {
		d.Reason = strings.ToValidUTF8(d.Reason[:maxReason], "") + " ..."
	}
	d.Reason = strings.ToValidUTF8(d.Reason, "\uFFFD")
	subject := subjectDead + Token(d.Stage) + "." + strings.TrimPrefix(d.Subject, "epmesh.")
	var source [8]byte
	binary.LittleEndian.PutUint64(source[:], d.source)
	id := NewID(d.ID[:], []byte("dead"), []byte(d.Consumer), source[:])
	room := b.maxPayload - headerRoom - maxReason - 4<<10
	parts := max((len(d.Body)+room-1)/room, 1)
	msgs := make([]*nats.Msg, parts)
	for i := range parts {
		data, err := proto.Marshal(&pb.DeadLetter{
			Version: Version, Id: id[:], Item: d.ID[:], Received: uint64(d.Received),
			Stage: d.Stage, Plugin: d.Plugin, Node: d.Node, Consumer: d.Consumer, Subject: d.Subject,
			Attempts: uint32(d.Attempts), Reason: d.Reason, Time: uint64(d.Time.UnixNano()),
			Body: d.Body[min(i*room, len(d.Body)):min((i+1)*room, len(d.Body))],
			Part: uint32(i), Parts: uint32(parts),
		})
		if err != nil {
			return nil, fmt.Errorf("dead letter: %w", err)
		}
		msgs[i] = rawMessage(subject, id.Derive("part", i), data)
	}
	return msgs, nil
}

// DeadFilter chooses dead letters. Empty fields choose all.
type DeadFilter struct {
	Stage string
	// From is the first sequence looked at.
	From uint64
}

// DeadLetters calls f with each dead letter, oldest first, until f returns false
// or there are no more.
func (b *Bridge) DeadLetters(ctx context.Context, filter DeadFilter, f func(DeadLetter) bool) error {
	stream, err := b.js.Stream(ctx, StreamDead)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	subject := subjectDead + ">"
	if filter.Stage != "" {
		subject = subjectDead + Token(filter.Stage) + ".>"
	}
	open := gatherer{}
	for seq := max(filter.From, 1); ; {
		raw, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("dead letters: %w", err)
		}
		d, err := open.add(raw)
		if err != nil {
			return err
		}
		if d != nil && !f(*d) {
			return nil
		}
		seq = raw.Sequence + 1
	}
}

// gatherer puts the parts of dead letters together.
type gatherer map[string]*gathered

type gathered struct {
	letter DeadLetter
	bodies [][]byte
	left   int
}

// add returns the dead letter that raw makes whole, or nil.
func (g gatherer) add(raw *jetstream.RawStreamMsg) (*DeadLetter, error) {
	var p pb.DeadLetter
	if err := proto.Unmarshal(raw.Data, &p); err != nil {
		return nil, fmt.Errorf("dead letter %d: %w", raw.Sequence, err)
	}
	if p.GetVersion() > Version {
		return nil, fmt.Errorf("dead letter %d: format %d: %w", raw.Sequence, p.GetVersion(), ErrNewer)
	}
	key, parts := string(p.GetId()), max(p.GetParts(), 1)
	d := g[key]
	if d == nil {
		d = &gathered{bodies: make([][]byte, min(parts, maxParts)), letter: fromProto(&p)}
		d.letter.Sequence = raw.Sequence
		d.left = len(d.bodies)
		g[key] = d
	}
	// A part that came twice, after a crash, is taken once and removed twice.
	d.letter.parts = append(d.letter.parts, raw.Sequence)
	if i := int(p.GetPart()); i < len(d.bodies) && d.bodies[i] == nil {
		d.bodies[i] = append([]byte{}, p.GetBody()...)
		d.left--
	}
	if d.left > 0 {
		return nil, nil
	}
	delete(g, key)
	d.letter.Body = slices.Concat(d.bodies...)
	return &d.letter, nil
}

// fromProto is the dead letter without its body.
func fromProto(p *pb.DeadLetter) DeadLetter {
	d := DeadLetter{
		Received: int64(p.GetReceived()), Stage: p.GetStage(), Plugin: p.GetPlugin(), Node: p.GetNode(), Consumer: p.GetConsumer(),
		Attempts: int(p.GetAttempts()), Reason: p.GetReason(), Time: time.Unix(0, int64(p.GetTime())), Subject: p.GetSubject(),
	}
	copy(d.ID[:], p.GetItem())
	return d
}

// maxParts bounds what a stored part count may make this process set aside.
const maxParts = 1 << 12

// DeadLetter reads the dead letter with this sequence.
func (b *Bridge) DeadLetter(ctx context.Context, sequence uint64) (DeadLetter, error) {
	var found *DeadLetter
	err := b.DeadLetters(ctx, DeadFilter{From: sequence}, func(d DeadLetter) bool {
		if d.Sequence == sequence {
			found = &d
		}
		return d.Sequence < sequence
	})
	if err == nil && found == nil {
		err = fmt.Errorf("dead letter %d: there is none; epmesh dead list shows what there is", sequence)
	}
	if err != nil {
		return DeadLetter{}, err
	}
	return *found, nil
}

// onlyHeader names the one consumer that a replayed dead letter is for; the
// others of its stream let it pass.
const onlyHeader = "Epmesh-Only"

// Replay gives a dead letter to the consumer that gave it up, or where it never
// came into a stream, to its stage; then it removes it. It is removed only
// after it has been stored again.
func (b *Bridge) Replay(ctx context.Context, d DeadLetter) error {
	if d.Consumer != "" {
		// A stream keeps a message for the consumers that it has: without this
		// one the dead letter would be stored nowhere, and gone.
		if err := b.hasConsumer(ctx, d.Consumer); err != nil {
			return fmt.Errorf("replay dead letter %d: %w", d.Sequence, err)
		}
	}
	item := Item{ID: d.ID, Subject: d.Subject, Received: d.Received, Body: d.Body}
	if err := b.tooLarge(&item); err != nil {
		return fmt.Errorf("replay dead letter %d: %w", d.Sequence, err)
	}
	m := message([]Item{item})
	m.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("replay-%d", d.Sequence))
	if d.Consumer != "" {
		m.Header.Set(onlyHeader, d.Consumer)
	}
	if err := b.store(ctx, m); err != nil {
		return fmt.Errorf("replay dead letter %d: %w", d.Sequence, err)
	}
	return b.DeleteDead(ctx, d)
}

func (b *Bridge) hasConsumer(ctx context.Context, name string) error {
	for _, s := range streams {
		if _, err := b.js.Consumer(ctx, s.name, name); err == nil {
			return nil
		} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("consumer %s: %w", name, err)
		}
	}
	return fmt.Errorf("nobody takes it: there is no consumer %s; list its plugin in the order again first", name)
}

// DeleteDead removes a dead letter for good.
func (b *Bridge) DeleteDead(ctx context.Context, d DeadLetter) error {
	stream, err := b.js.Stream(ctx, StreamDead)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	for _, seq := range d.parts {
		if err := stream.DeleteMsg(ctx, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("delete dead letter %d: %w", seq, err)
		}
	}
	return nil
}
