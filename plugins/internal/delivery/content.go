package delivery

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	pb "github.com/epmesh/epmesh/proto"
)

// maxParsed bounds the text that is read as JSON; a longer one is only text.
const maxParsed = 1 << 20

// Content is a message as templates and presets see it. Fields that the message
// does not have are empty. All texts are valid UTF-8.
type Content struct {
	ID        string // of the message
	Topic     string
	Timestamp string
	Text      string // the body as it came

	JSON any            // the body where it is a JSON object or array, else nil; numbers are json.Number
	Body map[string]any // the same where it is an object, else empty

	Title       string // title, name or the topic
	Summary     string // summary, else the beginning of a text
	Severity    string // lower case
	Description string
	Adversary   string // its shortest name: ip, host, domain, user or url
	Target      string
	Count       string // count, alerts or events
	Tenant      string
	Category    string
	Technique   string
	DataSource  string
	FirstSeen   string
	LastSeen    string
	Incident    string // its id
}

// Read makes the view of a message. It takes whatever is there.
func Read(m *pb.Message) Content {
	c := Content{ID: valid(m.GetId()), Topic: valid(m.GetTopic()), Timestamp: valid(m.GetTimestamp()), Text: valid(m.GetMessage())}
	c.parse()
	object := c.Body
	text := func(keys ...string) string {
		for _, key := range keys {
			if s := plain(object[key]); s != "" {
				return s
			}
		}
		return ""
	}
	c.Title = line(cmp.Or(text("title", "name"), c.Topic), 200)
	c.Severity = strings.ToLower(line(text("severity"), 40))
	c.Description = text("description")
	c.Adversary = line(side(object["adversary"]), 200)
	c.Target = line(side(object["target"]), 200)
	c.Count = line(text("count", "alerts", "events"), 20)
	c.Tenant = line(text("tenantName", "tenantId", "tenant"), 100)
	c.Category = line(text("category"), 100)
	c.Technique = line(text("technique"), 100)
	c.DataSource = line(text("dataSource"), 100)
	c.FirstSeen = line(text("firstSeen", "started"), 40)
	c.LastSeen = line(text("lastSeen", "updated"), 40)
	c.Incident = line(cmp.Or(text("incident", "incidentId"), side(object["incident"])), 100)
	c.Summary = line(text("summary"), 1000)
	if c.Summary == "" && len(object) == 0 {
		c.Summary = line(c.Text, 1000)
	}
	return c
}

// parse reads the body as JSON.
func (c *Content) parse() {
	c.Body = map[string]any{}
	text := strings.TrimSpace(c.Text)
	if len(text) > maxParsed || !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var body any
	if d.Decode(&body) != nil {
		return
	}
	if _, err := d.Token(); err != io.EOF {
		return
	}
	c.JSON = body
	if object, ok := body.(map[string]any); ok {
		c.Body = object
	}
}

// plain is a value as text: of a list its length.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	case []any:
		if len(v) > 0 {
			return fmt.Sprint(len(v))
		}
	}
	return ""
}

// side is the name of one side of an alert, or of anything with an id.
func side(v any) string {
	object, ok := v.(map[string]any)
	if !ok {
		if _, list := v.([]any); list {
			return ""
		}
		return plain(v)
	}
	for _, key := range []string{"ip", "host", "domain", "user", "url", "id", "name"} {
		if s := plain(object[key]); s != "" {
			return s
		}
	}
	return ""
}

// Line is the message in one line: its summary, or severity and title.
func (c Content) Line() string {
	if c.Summary != "" {
		return c.Summary
	}
	s := c.Title
	if c.Severity != "" {
		s = strings.ToUpper(c.Severity) + " " + s
	}
	if c.Adversary != "" {
		s += " from " + c.Adversary
	}
	if c.Target != "" {
		s += " against " + c.Target
	}
	return s
}

// Indented is the body for people: JSON indented, other text as it is.
func (c Content) Indented() string {
	if c.JSON == nil {
		return c.Text
	}
	var out bytes.Buffer
	if json.Indent(&out, []byte(strings.TrimSpace(c.Text)), "", "  ") != nil {
		return c.Text
	}
	return out.String()
}

// severities are the known names of severities, from the mildest, with what else
// they are called.
var severities = [][]string{
	{"info", "informational", "debug", "notice"},
	{"low", "minor"},
	{"medium", "moderate", "warning", "warn"},
	{"high", "major", "error"},
	{"critical", "fatal", "emergency", "alert"},
}

// Rank orders severities: 1 is info, 5 critical, 0 what is not known.
func Rank(severity string) int {
	severity = strings.ToLower(severity)
	for i, names := range severities {
		for _, name := range names {
			if severity == name {
				return i + 1
			}
		}
	}
	return 0
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// line is a text without control characters, cut to so many bytes.
func line(s string, most int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0, r == '\u2028', r == '\u2029':
			return ' '
		}
		return r
	}, Cut(s, 4*most)))
	return Cut(s, most)
}

// Cut shortens a text to at most so many bytes, at the border of a character, and
// says with an ellipsis that it did.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const ellipsis = "…"
	end := max(most-len(ellipsis), 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// Line is a text as it may stand in one line: no control characters, no more than
// so many bytes.
func Line(s string, most int) string { return line(valid(s), most) }

// Clean is a text without control characters but line breaks and tabs.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0:
			return -1
		}
		return r
	}, valid(s))
}
