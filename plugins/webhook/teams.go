package webhook

import "github.com/epmesh/epmesh/plugins/internal/delivery"

const (
	teamsBytes = 28 << 10 // that Teams takes
	teamsText  = 6000
	teamsValue = 1000
)

// teamsEncoded is the body within what Teams takes.
func teamsEncoded(c delivery.Content) ([]byte, error) {
	for most := teamsText; ; most /= 2 {
		body, err := encode(teamsBody(c, most))
		if err != nil || len(body) <= teamsBytes || most < 100 {
			return body, err
		}
	}
}

type (
	teamsMessage struct {
		Type        string            `json:"type"`
		Summary     string            `json:"summary"`
		Attachments []teamsAttachment `json:"attachments"`
	}
	teamsAttachment struct {
		ContentType string    `json:"contentType"`
		ContentURL  *string   `json:"contentUrl"`
		Content     teamsCard `json:"content"`
	}
	teamsCard struct {
		Schema  string     `json:"$schema"`
		Type    string     `json:"type"`
		Version string     `json:"version"`
		MSTeams teamsWidth `json:"msteams"`
		Body    []any      `json:"body"`
	}
	teamsWidth struct {
		Width string `json:"width"`
	}
	teamsContainer struct {
		Type  string `json:"type"`
		Style string `json:"style"`
		Bleed bool   `json:"bleed"`
		Items []any  `json:"items"`
	}
	teamsRich struct {
		Type    string     `json:"type"`
		Inlines []teamsRun `json:"inlines"`
	}
	teamsRun struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Weight   string `json:"weight,omitempty"`
		Size     string `json:"size,omitempty"`
		FontType string `json:"fontType,omitempty"`
		Subtle   bool   `json:"isSubtle,omitempty"`
	}
)

// styles of a card's head, by delivery.Rank.
var styles = []string{"default", "accent", "good", "warning", "warning", "attention"}

// teamsBody is a message with an Adaptive Card, which is what the workflow "When
// a Teams webhook request is received" takes. All texts are text runs, in which
// Markdown is not read: a log can neither put a link into the card nor mention
// somebody.
func teamsBody(c delivery.Content, most int) teamsMessage {
	headline := c.Line()
	card := teamsCard{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
		MSTeams: teamsWidth{"Full"},
		Body: []any{teamsContainer{
			Type: "Container", Style: styles[delivery.Rank(c.Severity)], Bleed: true,
			Items: []any{rich(teamsRun{Text: headline, Weight: "Bolder", Size: "Medium"})},
		}},
	}
	if c.Description != "" {
		card.Body = append(card.Body, rich(teamsRun{Text: delivery.Cut(delivery.Clean(c.Description), most)}))
	}
	list := facts(c)
	for _, f := range list {
		card.Body = append(card.Body, rich(teamsRun{Text: f.name + ": ", Weight: "Bolder"}, teamsRun{Text: delivery.Cut(f.value, min(teamsValue, most))}))
	}
	if len(list) <= 1 && c.Text != "" {
		card.Body = append(card.Body, rich(teamsRun{Text: delivery.Cut(delivery.Clean(c.Indented()), most), FontType: "Monospace"}))
	}
	card.Body = append(card.Body, rich(teamsRun{Text: origin(c), Size: "Small", Subtle: true}))
	return teamsMessage{
		Type: "message", Summary: delivery.Cut(headline, 200),
		Attachments: []teamsAttachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: card}},
	}
}

func rich(runs ...teamsRun) teamsRich {
	for i := range runs {
		runs[i].Type = "TextRun"
	}
	return teamsRich{Type: "RichTextBlock", Inlines: runs}
}
