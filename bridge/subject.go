package bridge

import (
	"encoding/hex"
	"hash/fnv"
	"strings"
)

// Subjects: the stage, then the tokens that consumers, taps and permissions
// are cut by. Values are escaped by Token.
const (
	subjectLog    = "epmesh.log."
	subjectDraft  = "epmesh.draft."
	subjectEvent  = "epmesh.event."
	subjectAlert  = "epmesh.alert."
	subjectMsg    = "epmesh.message."
	subjectEngine = "epmesh.engine."
	subjectKeyed  = "epmesh.keyed."
	subjectPlaced = "epmesh.placed."
	subjectDead   = "epmesh.dead."
)

// LogSubject is where logs of a tenant and dataType are stored.
func LogSubject(tenant, dataType string) string {
	return subjectLog + Token(tenant) + "." + Token(dataType)
}

// DraftSubject is where drafts wait for a parsing plugin.
func DraftSubject(plugin, tenant, dataType string) string {
	return subjectDraft + Token(plugin) + "." + Token(tenant) + "." + Token(dataType)
}

// EventSubject is where events of a tenant and dataType are stored.
func EventSubject(tenant, dataType string) string {
	return subjectEvent + Token(tenant) + "." + Token(dataType)
}

// AlertSubject is where alerts of a tenant and dataType are stored.
func AlertSubject(tenant, dataType string) string {
	return subjectAlert + Token(tenant) + "." + Token(dataType)
}

// MessageSubject is where messages that plugins send are stored.
func MessageSubject(topic string) string { return subjectMsg + Token(topic) }

// EngineSubject is where the engine's own topics are stored, as tallies.
func EngineSubject(topic string) string { return subjectEngine + Token(topic) }

// Origin are the tokens of the tenant and the dataType that a subject of logs,
// drafts, events or alerts ends in.
func Origin(subject string) (tenant, dataType string) {
	i := strings.LastIndexByte(subject, '.')
	if i < 0 {
		return "", ""
	}
	rest := subject[:i]
	return rest[strings.LastIndexByte(rest, '.')+1:], subject[i+1:]
}

// IsEngine reports whether the items of a subject are the engine's own tallies.
func IsEngine(subject string) bool { return strings.HasPrefix(subject, subjectEngine) }

// maxToken bounds a subject token; a longer value keeps its beginning and a
// hash, so that equal values still share a subject.
const maxToken = 64

// Token escapes a value for use as one token of a subject: letters, digits,
// "-" and "_" stay, every other byte becomes %XX, the empty value is "%".
func Token(value string) string {
	if value == "" {
		return "%"
	}
	if plain(value) && len(value) <= maxToken {
		return value
	}
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; plainByte(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteString(hex.EncodeToString([]byte{c}))
		}
		if b.Len() > maxToken {
			h := fnv.New64a()
			h.Write([]byte(value))
			return b.String()[:maxToken/2] + "%~" + hex.EncodeToString(h.Sum(nil))
		}
	}
	return b.String()
}

// Untoken is the value that Token escaped. ok is false where the token holds
// only the beginning of it, or is none of ours.
func Untoken(token string) (value string, ok bool) {
	if token == "%" {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return token, false
		}
		c, err := hex.DecodeString(token[i+1 : i+3])
		if err != nil {
			return token, false
		}
		b.Write(c)
		i += 2
	}
	return b.String(), true
}

func plain(s string) bool {
	for i := range len(s) {
		if !plainByte(s[i]) {
			return false
		}
	}
	return true
}

func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// single reports whether each item of the subject is stored as a message of
// its own: alerts, and the messages of plugins.
func single(subject string) bool {
	return strings.HasPrefix(subject, subjectAlert) || strings.HasPrefix(subject, subjectMsg)
}
