package expr

import (
	"fmt"
	"regexp"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// Key tells documents apart by a text. Its method may be called by many
// goroutines at once.
type Key struct {
	path    *tree.Path // of a plain key
	program *Program
}

// plainPath is a key that is the path of a field, which CEL would read as the
// same field, or not at all.
var plainPath = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)

// CompileKey checks and compiles a key: the dotted path of a field, or an
// expression in CEL that gives a text, a number or a boolean.
func CompileKey(source string) (*Key, error) {
	if plainPath.MatchString(source) {
		return &Key{path: tree.ParsePath(source)}, nil
	}
	p, err := Compile(source, nil)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return &Key{program: p}, nil
}

// Of is a document's key. It is empty where the field is not there, or the
// expression has no value: one of an error, null, a list or a mapping.
func (k *Key) Of(doc Doc) string {
	if k.path != nil {
		if v := doc.Lookup(k.path); v.Kind != tree.Array && v.Kind != tree.Object {
			return v.String()
		}
		return ""
	}
	out, err := k.program.value(doc)
	if err != nil {
		return ""
	}
	return keyText(out)
}

func keyText(v ref.Val) string {
	switch v := v.(type) {
	case types.String:
		return string(v)
	case types.Int:
		return strconv.FormatInt(int64(v), 10)
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10)
	case types.Double:
		return strconv.FormatFloat(float64(v), 'g', -1, 64)
	case types.Bool:
		return strconv.FormatBool(bool(v))
	}
	return ""
}

// FromMessage makes a document of a message as FromEvent does of an event.
func FromMessage(m *pb.Message) Doc { return messageDoc{m.ProtoReflect()} }
