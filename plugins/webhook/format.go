package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"text/template"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
	pb "github.com/epmesh/epmesh/proto"
)

const (
	formatJSON  = "json"
	formatSlack = "slack"
	formatTeams = "teams"
)

// formatter writes the body that is posted for a message. Its error says that
// the message never can be posted.
type formatter func(*pb.Message) ([]byte, error)

// formatter is the one that the settings name. A template is tried with messages
// of all kinds, so that its mistakes are found now and not by the first alert of
// a night.
func (s Settings) formatter() (formatter, error) {
	switch s.Format {
	case formatSlack:
		return func(m *pb.Message) ([]byte, error) { return encode(slackBody(delivery.Read(m))) }, nil
	case formatTeams:
		return func(m *pb.Message) ([]byte, error) { return teamsEncoded(delivery.Read(m)) }, nil
	}
	setting, text := "template", s.Template
	if s.TemplateFile != "" {
		setting = "templateFile"
		raw, err := delivery.ReadFile(s.TemplateFile)
		if err != nil {
			return nil, fmt.Errorf("templateFile: %w", err)
		}
		text = string(raw)
	}
	if text == "" {
		return plainBody, nil
	}
	tmpl, err := template.New(setting).Funcs(delivery.Functions()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	f := templated(tmpl, s.MaxBody, isJSON(s.ContentType))
	for _, sample := range samples {
		if _, err := f(sample.message); err != nil {
			return nil, fmt.Errorf("%s: with %s: %w", setting, sample.about, err)
		}
	}
	return f, nil
}

// posted is a message as it is posted. A body that is JSON is put in as it is.
type posted struct {
	ID        string `json:"id"`
	Timestamp string `json:"@timestamp"`
	Topic     string `json:"topic"`
	Message   any    `json:"message"`
}

func plainBody(m *pb.Message) ([]byte, error) {
	text := strings.ToValidUTF8(m.Message, "\uFFFD")
	out := posted{ID: m.Id, Timestamp: m.Timestamp, Topic: m.Topic, Message: text}
	if json.Valid([]byte(text)) {
		out.Message = json.RawMessage(text)
	}
	return encode(out)
}

// encode writes JSON without HTML's escapes.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

func templated(tmpl *template.Template, most int, wantJSON bool) formatter {
	return func(m *pb.Message) ([]byte, error) {
		out, err := delivery.Execute(most, func(w *delivery.Bounded) error { return tmpl.Execute(w, delivery.Read(m)) })
		if err != nil {
			return nil, err
		}
		if wantJSON && !json.Valid(out) {
			var syntax *json.SyntaxError
			var v any
			place := ""
			if errors.As(json.Unmarshal(out, &v), &syntax) {
				from := max(int(syntax.Offset)-30, 0)
				place = fmt.Sprintf(": %v, after %q", syntax, delivery.Line(string(out[from:min(int(syntax.Offset), len(out))]), 60))
			}
			return nil, fmt.Errorf("the output is no JSON%s: write texts with the function json, as in {{json .Title}}, or set contentType", place)
		}
		return out, nil
	}
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

// samples are what a template must be able to write.
var samples = []struct {
	about   string
	message *pb.Message
}{
	{"a message of incidents", &pb.Message{
		Id: "7f9c", Timestamp: "2026-11-23T18:00:00Z", Topic: "incidents",
		Message: `{"summary":"HIGH \"SSH\" brute force","name":"SSH brute force","severity":"high","adversary":{"ip":"203.0.113.7"},` +
			`"target":{"host":"web-1"},"alerts":2,"events":14,"tenantId":"t1","firstSeen":"2026-11-23T17:59:00Z","lastSeen":"2026-11-23T18:00:00Z"}`,
	}},
	{"a body of plain text", &pb.Message{Id: "7f9d", Timestamp: "2026-11-23T18:00:00Z", Topic: "other", Message: "a \"quoted\" text\nof two lines with a \\ in it"}},
	{"an empty body", &pb.Message{Id: "7f9e", Timestamp: "2026-11-23T18:00:00Z", Topic: "other"}},
}
