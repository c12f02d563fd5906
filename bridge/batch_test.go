package bridge

import (
	"bytes"
	"errors"
	"testing"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func sample(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		body := bytes.Repeat([]byte{byte('a' + i%26)}, i*37%900)
		items[i] = Item{ID: NewID(body, []byte{byte(i)}), Subject: "epmesh.log.t.d", Received: int64(i) * 1e9, Body: body, Attempt: 1}
	}
	return items
}

// The hand-written form is what the generated code of mesh.proto reads and
// writes.
func TestBatchIsTheProtobufMessage(t *testing.T) {
	items := sample(100)
	data := encodeBatch(items)
	var p pb.Batch
	if err := proto.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	if p.GetVersion() != Version || len(p.GetItems()) != len(items) {
		t.Fatalf("version %d with %d items", p.GetVersion(), len(p.GetItems()))
	}
	for i, it := range p.GetItems() {
		if !bytes.Equal(it.GetId(), items[i].ID[:]) || it.GetReceived() != uint64(items[i].Received) || !bytes.Equal(it.GetBody(), items[i].Body) {
			t.Fatalf("item %d differs", i)
		}
	}
	again, err := proto.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	back, err := decodeBatch(again, "epmesh.log.t.d")
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		if back[i].ID != items[i].ID || back[i].Received != items[i].Received || !bytes.Equal(back[i].Body, items[i].Body) || back[i].Subject != items[i].Subject {
			t.Fatalf("item %d: %+v", i, back[i])
		}
	}
	if n := batchSize(len(items), bodies(items)); len(data) > n {
		t.Errorf("%d bytes, batchSize says at most %d", len(data), n)
	}
}

func bodies(items []Item) (n int) {
	for _, it := range items {
		n += len(it.Body)
	}
	return n
}

func TestDecodeBatchRefuses(t *testing.T) {
	version := func(v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, batchVersion, protowire.VarintType), v)
	}
	if _, err := decodeBatch(append(version(Version+1), 0xff), ""); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer format that cannot be read: %v", err)
	}
	for name, data := range map[string][]byte{
		"nothing":        {},
		"text":           []byte("hello there"),
		"no version":     encodeBatch(sample(1))[2:],
		"cut short":      encodeBatch(sample(3))[:70],
		"id of a byte":   append(version(1), 0x12, 0x03, 0x0a, 0x01, 0x00),
		"not a protobuf": {0xff, 0xff, 0xff},
	} {
		if _, err := decodeBatch(data, ""); err == nil || errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(encodeBatch(sample(3)))
	f.Add([]byte{8, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := decodeBatch(data, "s")
		if err != nil {
			return
		}
		back, err := decodeBatch(encodeBatch(items), "s")
		if err != nil || len(back) != len(items) {
			t.Fatalf("%d items, then %d: %v", len(items), len(back), err)
		}
	})
}

func BenchmarkBatch(b *testing.B) {
	items := sample(64)
	data := encodeBatch(items)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encodeBatch(items)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeBatch(data, "s"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
