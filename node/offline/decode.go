package offline

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"google.golang.org/protobuf/encoding/protojson"
)

// ErrNoLog is wrapped by the errors of Decode.
var ErrNoLog = errors.New("not a log")

// maxUnknown bounds the keys that are told of one line.
const maxUnknown = 10

// Decode reads a Log in protobuf-JSON. Keys that a Log does not have are left
// out of it and given as unknown, since likely they are misspelt.
func Decode(line []byte) (log *pb.Log, unknown []string, err error) {
	if i := invalid(line); i >= 0 {
		return nil, nil, fmt.Errorf("%w: byte %d is not UTF-8", ErrNoLog, i+1)
	}
	log = new(pb.Log)
	err = protojson.Unmarshal(line, log)
	if err == nil {
		return log, nil, nil
	}
	log = new(pb.Log)
	if lax := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, log); lax != nil {
		return nil, nil, fmt.Errorf("%w: %s", ErrNoLog, plain(lax))
	}
	gjson.ParseBytes(line).ForEach(func(key, _ gjson.Result) bool {
		if name := key.String(); !slices.Contains(logKeys, name) && len(unknown) < maxUnknown {
			unknown = append(unknown, name)
		}
		return true
	})
	return log, unknown, nil
}

// invalid is the place of the first byte that is not UTF-8, -1 for none.
func invalid(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}

// logKeys are the names that protobuf-JSON knows a Log's fields by.
var logKeys = func() (names []string) {
	fields := (&pb.Log{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		names = append(names, f.JSONName(), string(f.Name()))
	}
	return names
}()

// Suggest is the key of a Log that an unknown one is likely meant to be; "" for
// none.
func Suggest(key string) string {
	bare := bareKey.Replace(strings.ToLower(key))
	for _, name := range logKeys {
		if bareKey.Replace(strings.ToLower(name)) == bare {
			return name
		}
	}
	return ""
}

var bareKey = strings.NewReplacer("_", "", "-", "", "@", "", ".", "")

// place is how protojson names a place in a text, which here is one line.
var place = regexp.MustCompile(`\(line \d+:(\d+)\)`)

// maxReason bounds a reason, in bytes.
const maxReason = 500

// plain is an error of protojson without what varies from build to build.
func plain(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	text = strings.TrimSpace(strings.TrimPrefix(text, "proto:"))
	text = place.ReplaceAllString(text, "column $1")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "..."
	}
	return text
}
