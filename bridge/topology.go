package bridge

import (
	"slices"
	"time"
)

// Stream names, one a stage.
const (
	StreamLog     = "EPMESH_LOG"
	StreamDraft   = "EPMESH_DRAFT"
	StreamEvent   = "EPMESH_EVENT"
	StreamAlert   = "EPMESH_ALERT"
	StreamMessage = "EPMESH_MESSAGE"
	StreamKeyed   = "EPMESH_KEYED"
	StreamPlaced  = "EPMESH_PLACED"
	StreamDead    = "EPMESH_DEAD"
)

var streams = []struct {
	name     string
	subjects []string
}{
	{StreamLog, []string{subjectLog + ">"}},
	{StreamDraft, []string{subjectDraft + ">"}},
	{StreamEvent, []string{subjectEvent + ">"}},
	{StreamAlert, []string{subjectAlert + ">"}},
	{StreamMessage, []string{subjectMsg + ">", subjectEngine + ">"}},
	{StreamKeyed, []string{subjectKeyed + ">"}},
	{StreamPlaced, []string{subjectPlaced + ">"}},
	{StreamDead, []string{subjectDead + ">"}},
}

// Consumer names one durable consumer: who takes which subjects of a stream.
// All nodes that serve it share its work.
type Consumer struct {
	// Stage is parse, draft, analysis, correlation, notification or output.
	Stage string
	// Plugin is whom the items are for, or empty for the stage itself.
	Plugin string
	Stream string
	// Subjects are what it takes; none means all of the stream, which the server
	// finds with less work and memory than by a filter.
	Subjects []string
	// Transient: the server forgets the consumer, and lets go what it kept for
	// it, when nobody has served it for transientFor.
	Transient bool
	// Affinity tells items apart that have to meet at one instance of the plugin;
	// the zero value does not. Such a consumer is served by Route and by
	// ConsumePart instead of by Consume.
	Affinity Affinity
}

const transientFor = 10 * time.Minute

// WhileThere is the consumer made transient: for a plugin that no configuration
// names.
func (c Consumer) WhileThere() Consumer {
	c.Transient = true
	return c
}

// Name is the consumer's durable name.
func (c Consumer) Name() string {
	if c.Plugin == "" {
		return c.Stage
	}
	return c.Stage + "-" + Token(c.Plugin)
}

// ParseConsumer takes all logs.
func ParseConsumer() Consumer {
	return Consumer{Stage: "parse", Stream: StreamLog}
}

// DraftConsumer takes the drafts that wait for a parsing plugin.
func DraftConsumer(plugin string) Consumer {
	return Consumer{Stage: "draft", Plugin: plugin, Stream: StreamDraft, Subjects: []string{subjectDraft + Token(plugin) + ".>"}}
}

// AnalysisConsumer takes all events for an analysis plugin.
func AnalysisConsumer(plugin string) Consumer {
	return Consumer{Stage: "analysis", Plugin: plugin, Stream: StreamEvent}
}

// CorrelationConsumer takes all alerts for a correlation plugin.
func CorrelationConsumer(plugin string) Consumer {
	return Consumer{Stage: "correlation", Plugin: plugin, Stream: StreamAlert}
}

// EventOutputConsumer takes all events for an output plugin.
func EventOutputConsumer(plugin string) Consumer {
	return Consumer{Stage: "event-output", Plugin: plugin, Stream: StreamEvent}
}

// AlertOutputConsumer takes all alerts for an output plugin.
func AlertOutputConsumer(plugin string) Consumer {
	return Consumer{Stage: "alert-output", Plugin: plugin, Stream: StreamAlert}
}

// NotificationConsumer takes messages for a notification plugin: those of the
// topics, or where there are none all that plugins send. An engine topic is
// taken only where it is named; engine lists them.
func NotificationConsumer(plugin string, topics, engine []string) Consumer {
	c := Consumer{Stage: "notification", Plugin: plugin, Stream: StreamMessage}
	if len(topics) == 0 {
		c.Subjects = []string{subjectMsg + ">"}
	}
	for _, t := range topics {
		c.Subjects = append(c.Subjects, MessageSubject(t))
		if slices.Contains(engine, t) {
			c.Subjects = append(c.Subjects, EngineSubject(t))
		}
	}
	return c
}
