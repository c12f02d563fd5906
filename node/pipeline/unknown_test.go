package pipeline

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/encoding/protowire"
)

// A field of the Draft that this version does not know reaches the plugins
// behind the one that answered it, also by way of a hand-over.
func TestUnknownDraftFieldsGoOn(t *testing.T) {
	set, report := config.Parse("test", []byte(`
pipeline:
  - dataTypes: [d]
    steps:
      - dynamic: {plugin: newer}
      - dynamic: {plugin: next}
`))
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	s, problems := Compile(set, Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	unknown := protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "from the future")
	var got []byte
	away := errors.New("away")
	here := false
	dyn := func(_ context.Context, tr *pb.Transform) (*pb.Draft, error) {
		if tr.GetStep().GetDynamic().GetPlugin() == "newer" {
			tr.GetDraft().ProtoReflect().SetUnknown(unknown)
			return tr.GetDraft(), nil
		}
		if !here {
			return nil, Halt(away)
		}
		got = tr.GetDraft().ProtoReflect().GetUnknown()
		return tr.GetDraft(), nil
	}
	result, err := s.Run(t.Context(), &pb.Log{Id: "1", DataType: "d", Raw: "x"}, dyn)
	if !errors.Is(err, away) || result.Suspended == nil {
		t.Fatalf("run: %v", err)
	}
	here = true
	if _, err := s.Resume(t.Context(), "d", result.Suspended, dyn); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, unknown) {
		t.Errorf("the next plugin got %q, want %q", got, unknown)
	}
}
