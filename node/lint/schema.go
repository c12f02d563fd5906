package lint

import (
	"strings"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shape is what can stand at a path of an event or alert.
type shape int

const (
	unknownShape shape = iota
	textShape
	numberShape
	listShape
	objectShape
	anyShape // below log
)

var (
	eventType = (&pb.Event{}).ProtoReflect().Descriptor()
	alertType = (&pb.Alert{}).ProtoReflect().Descriptor()
)

// schema tells what can stand at a path below a message, and for an unknown path
// what may be meant.
func schema(md protoreflect.MessageDescriptor, path string) (is shape, hint string) {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		fd := md.Fields().ByJSONName(part)
		if fd == nil {
			return unknownShape, meant(md, parts, i)
		}
		last := i == len(parts)-1
		switch {
		case fd.IsMap() && !last:
			if fd.MapValue().Message().FullName() == "google.protobuf.Value" || i == len(parts)-2 {
				return anyShape, ""
			}
			return schema(fd.MapValue().Message(), strings.Join(parts[i+2:], "."))
		case fd.IsMap():
			return objectShape, ""
		case fd.IsList() && last:
			return listShape, ""
		case fd.IsList(): // an index, and what is below
			if fd.Message() == nil || i+2 >= len(parts) {
				return textShape, ""
			}
			return schema(fd.Message(), strings.Join(parts[i+2:], "."))
		case fd.Message() != nil && !last:
			md = fd.Message()
			continue
		case fd.Message() != nil:
			return objectShape, ""
		case !last:
			return unknownShape, strings.Join(parts[:i+1], ".") + " holds a single value"
		case fd.Kind() == protoreflect.StringKind:
			return textShape, ""
		}
		return numberShape, ""
	}
	return unknownShape, ""
}

// meant is the hint for a path whose i-th part is unknown.
func meant(md protoreflect.MessageDescriptor, parts []string, i int) string {
	var known []string
	for k := range md.Fields().Len() {
		known = append(known, md.Fields().Get(k).JSONName())
	}
	near := config.Suggest(parts[i], known)
	for _, k := range known {
		// A longer word for the same, such as hostname or username.
		if near == "" && len(k) > 2 && strings.HasPrefix(parts[i], k) {
			near = k
		}
	}
	if near != "" && near != parts[i] {
		fixed := append(append([]string{}, parts[:i]...), near)
		return `did you mean "` + strings.Join(append(fixed, parts[i+1:]...), ".") + `"?`
	}
	if i == 0 && md == eventType {
		return `a field of your own goes under log: "log.` + strings.Join(parts, ".") + `"`
	}
	return ""
}

// envelope are the fields that every draft has from its log.
var envelope = map[string]bool{
	"id": true, "dataType": true, "dataSource": true, "@timestamp": true, "tenantId": true, "raw": true,
}

// reserved are the fields that no step writes.
func reserved(path string) bool {
	first, _, _ := strings.Cut(path, ".")
	return first == "raw" || first == "@timestamp" || first == "timestamp"
}

// clean is a name as steps write it.
func (l *linter) clean(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '_' && !l.options.StripUnderscore || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z') {
			return r
		}
		return -1
	}, name)
}

// fold leaves out what writers of names commonly confuse.
func fold(path string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(path))
}
