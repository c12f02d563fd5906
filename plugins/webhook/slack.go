package webhook

import (
	"strings"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
)

// Bounds of Slack's: a section's text has at most 3000 characters, each of its
// at most ten fields 2000, a message's text is best below 4000.
const (
	slackText    = 3000
	slackField   = 1000
	slackSection = 2900
)

// colours by delivery.Rank.
var colours = []string{"#808080", "#4a90d9", "#2eb67d", "#ecb22e", "#e8590c", "#c92a2a"}

type (
	slackMessage struct {
		Text string `json:"text"`
		// A link in a log is not to be looked at by Slack.
		UnfurlLinks bool              `json:"unfurl_links"`
		UnfurlMedia bool              `json:"unfurl_media"`
		Mrkdwn      bool              `json:"mrkdwn"`
		Attachments []slackAttachment `json:"attachments"`
	}
	slackAttachment struct {
		Color    string       `json:"color"`
		Fallback string       `json:"fallback"`
		Blocks   []slackBlock `json:"blocks"`
	}
	slackBlock struct {
		Type     string      `json:"type"`
		Text     *slackWord  `json:"text,omitempty"`
		Fields   []slackWord `json:"fields,omitempty"`
		Elements []slackWord `json:"elements,omitempty"`
	}
	slackWord struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Verbatim bool   `json:"verbatim"` // names and addresses in it become no links
	}
)

// slackBody is a line for the notification, and below it, with a bar in the
// colour of the severity, what there is to know.
func slackBody(c delivery.Content) slackMessage {
	headline := slackEscape(c.Line(), slackText)
	a := slackAttachment{Color: colours[delivery.Rank(c.Severity)], Fallback: headline}
	if c.Description != "" {
		a.Blocks = append(a.Blocks, slackSectionOf(slackEscape(delivery.Clean(c.Description), slackSection)))
	}
	var fields []slackWord
	for _, f := range facts(c) {
		fields = append(fields, words("*"+f.name+"*\n"+slackEscape(f.value, slackField)))
	}
	if len(fields) > 0 {
		a.Blocks = append(a.Blocks, slackBlock{Type: "section", Fields: fields})
	}
	if len(fields) <= 1 && c.Text != "" {
		const fence = "```"
		// A fence of its own would end the block.
		raw := strings.ReplaceAll(delivery.Clean(c.Indented()), fence, "'''")
		a.Blocks = append(a.Blocks, slackSectionOf(fence+slackEscape(raw, slackSection-2*len(fence))+fence))
	}
	a.Blocks = append(a.Blocks, slackBlock{Type: "context", Elements: []slackWord{words(slackEscape(origin(c), slackField))}})
	return slackMessage{Text: headline, Attachments: []slackAttachment{a}}
}

func slackSectionOf(text string) slackBlock {
	w := words(text)
	return slackBlock{Type: "section", Text: &w}
}

func words(text string) slackWord { return slackWord{"mrkdwn", text, true} }

// slackEscape makes a text say only what it says: no mention, no link. The
// bound holds for what comes out.
func slackEscape(s string, most int) string {
	escaped := slackReplacer.Replace(delivery.Cut(s, most))
	for limit := most; len(escaped) > most; {
		limit -= (len(escaped)-most)/5 + 1
		escaped = slackReplacer.Replace(delivery.Cut(s, max(limit, 0)))
		if limit <= 0 {
			return ""
		}
	}
	if escaped == "" {
		return "-" // Slack takes no empty text
	}
	return escaped
}

var slackReplacer = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

type fact struct{ name, value string }

// facts are what is known of a message, at most ten.
func facts(c delivery.Content) []fact {
	var list []fact
	for _, f := range []fact{
		{"Severity", c.Severity},
		{"Adversary", c.Adversary},
		{"Target", c.Target},
		{"Count", c.Count},
		{"Technique", c.Technique},
		{"Category", c.Category},
		{"Source", c.DataSource},
		{"First seen", c.FirstSeen},
		{"Last seen", c.LastSeen},
		{"Incident", c.Incident},
	} {
		if f.value != "" {
			list = append(list, f)
		}
	}
	return list
}

// origin says where a message is from.
func origin(c delivery.Content) string {
	parts := []string{"epmesh", c.Topic}
	if c.Tenant != "" {
		parts = append(parts, "tenant "+c.Tenant)
	}
	if c.Timestamp != "" {
		parts = append(parts, c.Timestamp)
	}
	return delivery.Line(strings.Join(append(parts, c.ID), " · "), 900)
}
