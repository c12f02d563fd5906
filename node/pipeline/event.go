package pipeline

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/epmesh/epmesh/node/tree"
	"google.golang.org/protobuf/encoding/protowire"
)

// finish writes the draft as an Event in wire form, as if its JSON text were
// decoded as one: fields that the Event does not know vanish and are counted,
// numbers may be strings, and what has the wrong type is an error.
func (r *run) finish() (Result, error) {
	root := r.d.Root()
	w := writer{list: r.set.options.ListUnknown}
	buf := buffers.Get().(*[]byte)
	defer func() { putBuffer(buf) }()
	tenant, known := r.set.tenants[root.Member("tenantId").String()]
	b, err := w.message((*buf)[:0], eventInfo, root, known)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrDraft, err)
	}
	if !w.deviceTime {
		timestamp := root.Member("@timestamp")
		if !timestamp.Exists() {
			timestamp = root.Member("timestamp")
		}
		b = appendText(b, deviceTimeField, timestamp.String())
	}
	if known {
		b = appendText(b, tenantNameField, tenant)
	}
	failures := r.d.failures()
	if r.d.more > 0 {
		r.d.errors = append(r.d.errors, fmt.Sprintf("and %d more errors", r.d.more))
	}
	for _, text := range r.d.errors {
		b = protowire.AppendTag(b, errorsField, protowire.BytesType)
		b = protowire.AppendString(b, text)
	}
	*buf = b
	event := make([]byte, len(b))
	copy(event, b)
	return Result{
		Event: event, Errors: failures, Unknown: w.unknown, UnknownFields: w.fields,
	}, nil
}

// appendText appends a string field; an empty one is not there.
func appendText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// writer writes one draft.
type writer struct {
	deviceTime bool // is set to more than ""
	unknown    int
	list       bool
	fields     []string
	path       []string
}

// skip counts a field that has no place in the event.
func (w *writer) skip(name string) {
	w.unknown++
	if w.list && len(w.fields) < maxErrors {
		path := ""
		for _, part := range w.path {
			path += part + "."
		}
		w.fields = append(w.fields, path+name)
	}
}

// message appends the fields of a message from an object. For the event itself,
// tenantName is left out where the configuration knows it.
func (w *writer) message(b []byte, info *messageInfo, n *tree.Node, tenantKnown bool) ([]byte, error) {
	if n.Kind() != tree.Object {
		return nil, wrong("an object", n)
	}
	var seen [2]uint64
	list := n.List()
	for i := range list {
		kid := &list[i]
		f := info.fields[kid.Key()]
		if f == nil {
			w.skip(kid.Key())
			continue
		}
		if seen[f.index>>6]&(1<<(f.index&63)) != 0 {
			return nil, fmt.Errorf("field %s is set twice, under both its names", kid.Key())
		}
		seen[f.index>>6] |= 1 << (f.index & 63)
		if kid.Kind() == tree.Null {
			continue
		}
		if info == eventInfo {
			if f.number == tenantNameField && tenantKnown && kid.Kind() == tree.String {
				continue
			}
			if f.number == deviceTimeField {
				w.deviceTime = kid.Text() != ""
			}
		}
		var err error
		if b, err = w.field(b, f, kid); err != nil {
			return nil, inField(kid.Key(), err)
		}
	}
	return b, nil
}

// fieldError is what is wrong with the field at a path.
type fieldError struct {
	path string
	err  error
}

func (e *fieldError) Error() string { return fmt.Sprintf("field %s: %v", e.path, e.err) }
func (e *fieldError) Unwrap() error { return e.err }

// inField tells an error in which field it arose, from the inside out.
func inField(name string, err error) error {
	if inner, ok := err.(*fieldError); ok {
		inner.path = name + "." + inner.path
		return inner
	}
	return &fieldError{name, err}
}

// wholeNumber says what fields of these kinds hold.
var wholeNumber = map[fieldKind]string{
	uint32Kind: "a whole number from 0 to " + strconv.FormatUint(math.MaxUint32, 10),
	uint64Kind: "a whole number from 0 to " + strconv.FormatUint(math.MaxUint64, 10),
}

func wrong(want string, n *tree.Node) error {
	text := string(n.AppendJSON(nil))
	if len(text) > 64 {
		text = strings.ToValidUTF8(text[:64], "") + "..."
	}
	return fmt.Errorf("cannot read %s as %s", text, want)
}

func (w *writer) field(b []byte, f *fieldInfo, n *tree.Node) ([]byte, error) {
	switch f.shape {
	case singular:
		return w.value(b, f, n, false)
	case list:
		if n.Kind() != tree.Array {
			return nil, wrong("a list", n)
		}
		items := n.List()
		for i := range items {
			var err error
			if b, err = w.value(b, f, &items[i], true); err != nil {
				return nil, err
			}
		}
		return b, nil
	default: // mapping
		if n.Kind() != tree.Object {
			return nil, wrong("an object", n)
		}
		entries := n.List()
		for i := range entries {
			var err error
			b = protowire.AppendTag(b, f.number, protowire.BytesType)
			at := len(b)
			b = protowire.AppendTag(append(b, 0), 1, protowire.BytesType)
			b = protowire.AppendString(b, entries[i].Key())
			if b, err = w.value(b, f.entry, &entries[i], true); err != nil {
				return nil, inField(entries[i].Key(), err)
			}
			b = closeLength(b, at)
		}
		return b, nil
	}
}

// value appends one value of a field, with its tag. A zero is not written but
// where always says so: in lists and maps.
func (w *writer) value(b []byte, f *fieldInfo, n *tree.Node, always bool) ([]byte, error) {
	switch f.kind {
	case textKind:
		if n.Kind() != tree.String {
			return nil, wrong("text", n)
		}
		if n.Text() == "" && !always {
			return b, nil
		}
		b = protowire.AppendTag(b, f.number, protowire.BytesType)
		return protowire.AppendString(b, n.Text()), nil
	case uint32Kind, uint64Kind:
		u, ok := unsigned(n, f.kind)
		if !ok {
			return nil, wrong(wholeNumber[f.kind], n)
		}
		if u == 0 && !always {
			return b, nil
		}
		b = protowire.AppendTag(b, f.number, protowire.VarintType)
		return protowire.AppendVarint(b, u), nil
	case doubleKind:
		bits, ok := double(n)
		if !ok {
			return nil, wrong("a number", n)
		}
		if bits == 0 && !always {
			return b, nil
		}
		b = protowire.AppendTag(b, f.number, protowire.Fixed64Type)
		return protowire.AppendFixed64(b, bits), nil
	case messageKind:
		b = protowire.AppendTag(b, f.number, protowire.BytesType)
		at := len(b)
		if w.list {
			w.path = append(w.path, f.name)
			defer func() { w.path = w.path[:len(w.path)-1] }()
		}
		b, err := w.message(append(b, 0), f.message, n, false)
		if err != nil {
			return nil, err
		}
		return closeLength(b, at), nil
	default: // jsonKind
		b = protowire.AppendTag(b, f.number, protowire.BytesType)
		return appendValue(b, n)
	}
}

// closeLength writes the length of what was appended behind the one byte that
// was kept for it at at, and makes room where one byte is too small.
func closeLength(b []byte, at int) []byte {
	size := len(b) - at - 1
	if size < 0x80 {
		b[at] = byte(size)
		return b
	}
	more := protowire.SizeVarint(uint64(size)) - 1
	b = append(b, "\x00\x00\x00\x00\x00\x00\x00\x00\x00"[:more]...)
	copy(b[at+1+more:], b[at+1:at+1+size])
	protowire.AppendVarint(b[:at], uint64(size))
	return b
}
