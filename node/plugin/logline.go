package plugin

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

const (
	// listeningMessage announces an address that the plugin listens on; the
	// fields network and address say which.
	listeningMessage = "listening"
	maxFields        = 64
	maxAddress       = 256
)

// logLine is one line of a plugin's output, understood.
//
// JSON lines keep their level and fields: those of the official SDK (severity,
// msg, args, ...), of hclog (@level, @message, ...) and of Go's slog (level,
// msg, ...). Everything else is text: a warning on standard error, where a
// panic's trace and most complaints go, else information.
type logLine struct {
	level   hclog.Level
	message string
	fields  []any // key, value, ...
}

func parseLine(raw []byte, isErr bool) logLine {
	if l, ok := parseJSON(raw); ok {
		return l
	}
	level := hclog.Info
	if isErr {
		level = hclog.Warn
	}
	return logLine{level: level, message: oneLine(string(raw))}
}

// parseJSON understands an object with a message. The SDK puts a symbol before
// it by default.
func parseJSON(raw []byte) (logLine, bool) {
	start := bytes.IndexByte(raw, '{')
	if start < 0 || start > 16 || bytes.ContainsFunc(raw[:start], isWord) {
		return logLine{}, false
	}
	decoder := json.NewDecoder(bytes.NewReader(raw[start:]))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil || len(bytes.TrimSpace(raw[start+int(decoder.InputOffset()):])) > 0 {
		return logLine{}, false
	}
	message, ok := pick(object, "@message", "msg", "message")
	if !ok {
		return logLine{}, false
	}
	level, _ := pick(object, "@level", "severity", "level")
	l := logLine{level: parseLevel(level), message: oneLine(message)}
	// Our own log stamps the line; the code is a hash of the message.
	for _, key := range []string{"@timestamp", "timestamp", "time", "code"} {
		delete(object, key)
	}
	if module, ok := object["@module"]; ok {
		delete(object, "@module")
		object["module"] = module
	}
	args, _ := object["args"].(map[string]any)
	if args != nil {
		delete(object, "args")
	}
	l.add(object)
	l.add(args)
	return l, true
}

// pick takes the first of these keys that holds a text.
func pick(object map[string]any, keys ...string) (string, bool) {
	for _, key := range keys {
		if s, ok := object[key].(string); ok {
			delete(object, key)
			return s, true
		}
	}
	return "", false
}

func (l *logLine) add(object map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if len(l.fields) >= 2*maxFields {
			return
		}
		l.fields = append(l.fields, printable(key), fieldValue(object[key]))
	}
}

func fieldValue(v any) any {
	switch v := v.(type) {
	case string:
		return printable(v)
	case json.Number:
		return v.String()
	case bool:
		return v
	case nil:
		return nil
	}
	// An object or a list stays JSON; it came from JSON, so this cannot fail.
	text, _ := json.Marshal(v)
	return string(text)
}

// field finds a field by its key.
func (l *logLine) field(key string) string {
	for i := 0; i+1 < len(l.fields); i += 2 {
		if l.fields[i] == key {
			s, _ := l.fields[i+1].(string)
			return s
		}
	}
	return ""
}

// listening reports the address that the line announces, if it does.
func (l *logLine) listening() (Listening, bool) {
	if l.message != listeningMessage {
		return Listening{}, false
	}
	at := Listening{Network: l.field("network"), Address: l.field("address")}
	return at, at.Network != "" && at.Address != "" && len(at.Network)+len(at.Address) <= maxAddress
}

func parseLevel(s string) hclog.Level {
	switch strings.ToUpper(s) {
	case "TRACE":
		return hclog.Trace
	case "DEBUG":
		return hclog.Debug
	case "WARN", "WARNING":
		return hclog.Warn
	case "ERROR", "CRITICAL", "ALERT", "EMERGENCY", "FATAL", "PANIC":
		return hclog.Error
	}
	return hclog.Info
}

func isWord(r rune) bool {
	return r == utf8.RuneError || r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '[' || r == '"')
}

// printable keeps a plugin from writing to the node's terminal anything but
// text.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, s)
}

// oneLine keeps a message from looking like two.
func oneLine(s string) string { return strings.ReplaceAll(printable(s), "\n", " ") }

func hidden(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' }

func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
