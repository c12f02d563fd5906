package config

import (
	"regexp"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// CaseSchema is the JSON Schema of case files. It knows the paths and types of
// events, and which keys of a case exclude each other; what ParseCases finds by
// looking at several values, such as a name that is given twice, it does not.
func CaseSchema() []byte {
	b := schemaBuilder{defs: map[string]any{}}
	b.defs["Plugins"] = mapping("What plugins answer where a dynamic step calls them, by name.", b.answer())
	b.defs["Case"] = b.oneCase()
	root := closed(map[string]any{
		"files":           map[string]any{"type": "array", "minItems": 1, "items": wantedText(""), "description": "Pipeline files and folders, as paths from this file's folder, in the order in which they count. Without, those that the node would read."},
		"rules":           map[string]any{"type": "array", "minItems": 1, "items": wantedText(""), "description": "Rule files and folders, as paths from this file's folder. Without, those that the node would read."},
		"defaults":        closed(logTexts(map[string]any{})),
		"plugins":         map[string]any{"$ref": "#/$defs/Plugins"},
		"keepUnderscores": map[string]any{"type": "boolean", "default": true, "description": "As the setting pipeline.keep_underscores: false for filters of older engines."},
		"cases":           map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"$ref": "#/$defs/Case"}, "description": "Logs, and what is wanted of their events."},
	}, "cases")
	return b.finish("epmesh case file", "Cases for epmesh test: a file called NAME"+CaseSuffix+".", root)
}

// oneCase is a log and what is wanted.
func (b *schemaBuilder) oneCase() map[string]any {
	properties := map[string]any{
		"name":    map[string]any{"type": "string", "minLength": 1, "maxLength": maxCaseName, "description": "What the case shows; one line, given once in the file."},
		"raw":     map[string]any{"type": "string", "description": "The text of the log."},
		"log":     b.log(),
		"plugins": map[string]any{"$ref": "#/$defs/Plugins"},
		"fields":  b.byPath(eventPlace, "Values by path, such as origin.ip: 192.0.2.1.", nil),
		"matches": b.byPath(eventPlace, "Texts by path that the value has in it; /like this/ is a regular expression.", wantedText("")),
		"absent":  map[string]any{"type": "array", "items": map[string]any{"type": "string", "minLength": 1}, "description": "Paths at which nothing stands."},
		"exact":   yes("There is no field besides those under fields and matches."),
		"event":   b.event(false),
		"errors":  map[string]any{"type": "array", "items": wantedText(""), "description": "Each is in an error on the event, and each error has one of these in it."},
		"dropped": yes("A drop step discards the log."),
		"dead":    wantedText("The log cannot become an event, and this is in the reason."),
		"events":  map[string]any{"type": "array", "minItems": 1, "items": b.caseEvent(), "description": "What rules see, in this order."},
		"alerts":  map[string]any{"type": "array", "items": b.caseAlert(), "description": "The alerts that rules make, and no others."},
	}
	s := closed(logTexts(properties), "name")
	s["oneOf"] = []any{
		map[string]any{"required": []any{"raw"}},
		map[string]any{"required": []any{"log"}},
		map[string]any{"required": []any{"events"}},
	}
	s["dependentSchemas"] = map[string]any{
		"log":     without("raw", "dataType", "dataSource", "tenantId", "timestamp"),
		"event":   without("fields", "matches", "absent", "exact", "dropped", "dead"),
		"dropped": without("fields", "matches", "absent", "exact", "errors", "dead", "alerts"),
		"dead":    without("fields", "matches", "absent", "exact", "errors", "alerts"),
		"events":  without("raw", "log", "dataType", "dataSource", "tenantId", "timestamp", "fields", "matches", "absent", "exact", "event", "errors", "dropped", "dead"),
	}
	return s
}

// caseEvent is one of the events of a case.
func (b *schemaBuilder) caseEvent() map[string]any {
	s := closed(logTexts(map[string]any{
		"raw":   map[string]any{"type": "string", "description": "The text of a log, of which the pipelines make the event."},
		"event": b.event(true),
		"times": map[string]any{"type": "integer", "minimum": 1, "maximum": maxCaseEvents, "description": "How often it comes."},
		"after": map[string]any{"type": "string", "description": "How long after the event before it, such as 30s; without, 1s."},
		"every": map[string]any{"type": "string", "description": "With times: how long after each other, such as 5s; without, 1s."},
	}))
	s["oneOf"] = []any{map[string]any{"required": []any{"raw"}}, map[string]any{"required": []any{"event"}}}
	return s
}

// caseAlert is what is wanted of one rule.
func (b *schemaBuilder) caseAlert() map[string]any {
	s := closed(map[string]any{
		"rule":   map[string]any{"type": "string", "minLength": 1, "description": "The rule's name or id."},
		"count":  map[string]any{"type": "integer", "minimum": 0, "description": "How many alerts it makes, 0 where it must not fire; without, one at least."},
		"fields": b.byPath(alertPlace, "Values by path of its last alert, such as severity: high.", nil),
	}, "rule")
	s["if"] = map[string]any{"properties": map[string]any{"count": map[string]any{"const": 0}}, "required": []any{"count"}}
	s["then"] = without("fields")
	return s
}

func (b *schemaBuilder) log() map[string]any {
	properties := map[string]any{}
	for _, key := range names((&pb.Log{}).ProtoReflect().Descriptor().Fields()) {
		properties[key] = logText(key)
	}
	s := closed(properties)
	s["description"] = "The whole log, instead of raw, dataType and the others beside it."
	return s
}

// logTexts adds what cases and defaults say of a log beside its text.
func logTexts(properties map[string]any) map[string]any {
	for key, field := range logKeys {
		properties[key] = logText(field)
	}
	return properties
}

// logText is a field of a log, by its JSON name.
func logText(key string) map[string]any {
	return map[string]any{"type": "string", "description": map[string]string{
		"id": "The log's id.", "dataType": "The log's data type, which chooses the pipelines.", "dataSource": "Where the log is from.",
		"tenantId": "The tenant's id.", "@timestamp": "The log's time, as RFC 3339.", "raw": "The text of the log.",
	}[key]}
}

// answer is what one plugin answers.
func (b *schemaBuilder) answer() map[string]any {
	s := closed(map[string]any{
		"set":    mapping("Values by path, put into the draft.", true),
		"lookup": mapping("Values by the text at params.source; they are put at params.destination.", true),
		"error":  map[string]any{"type": "string", "description": "The plugin's error."},
	})
	s["dependentSchemas"] = map[string]any{"error": without("set", "lookup")}
	return s
}

// event is the event as it is nested.
func (b *schemaBuilder) event(given bool) map[string]any {
	s := b.wanted(eventPlace)
	if given {
		s["description"] = "The event as it is nested, instead of a log."
		return s
	}
	delete(s["properties"].(map[string]any), "errors") // a key of the case
	s["description"] = "The whole event as it is nested, but for the envelope."
	return s
}

// wanted is the schema of a value that is wanted at a place of the event.
func (b *schemaBuilder) wanted(at place) map[string]any {
	switch {
	case at.free():
		return map[string]any{}
	case at.message != nil && at != eventPlace && at != alertPlace:
		name := string(at.message.Name())
		if _, made := b.defs[name]; !made {
			b.defs[name] = nil // a message may hold itself
			b.defs[name] = b.fieldsOf(at)
		}
		return map[string]any{"$ref": "#/$defs/" + name}
	case at.message != nil:
		return b.fieldsOf(at)
	case at.field.IsMap() && !at.item:
		next, _ := at.below("x")
		return map[string]any{"type": "object", "minProperties": 1, "additionalProperties": b.wanted(next)}
	case at.field.IsList() && !at.item:
		next, _ := at.below("0")
		return map[string]any{"type": "array", "minItems": 1, "items": b.wanted(next)}
	case at.field.Kind() == protoreflect.StringKind && at.field.IsList():
		return map[string]any{"type": "string"}
	case at.field.Kind() == protoreflect.StringKind:
		return map[string]any{"type": "string", "minLength": 1}
	case at.field.Kind() == protoreflect.Uint64Kind: // whose text is taken, too
		return map[string]any{"type": []any{"number", "string"}, "pattern": "^[0-9]+$", "not": map[string]any{"const": 0}}
	}
	return map[string]any{"type": "number", "not": map[string]any{"const": 0}}
}

func (b *schemaBuilder) fieldsOf(at place) map[string]any {
	properties := map[string]any{}
	for _, key := range names(at.message.Fields()) {
		next, _ := at.below(key)
		properties[key] = b.wanted(next)
	}
	return closed(properties)
}

// byPath is a mapping by paths of an event or alert. Each path that messages give is
// named, so that editors complete it; what is below a list or a mapping is free.
// With a value, all values are so.
func (b *schemaBuilder) byPath(root place, text string, value map[string]any) map[string]any {
	properties, open := map[string]any{}, map[string]any{}
	of := func(at place) map[string]any {
		if value != nil {
			return value
		}
		return b.wanted(at)
	}
	var walk func(at place, path string)
	walk = func(at place, path string) {
		for _, key := range names(at.message.Fields()) {
			next, _ := at.below(key)
			properties[path+key] = of(next)
			switch {
			case next.message != nil:
				walk(next, path+key+".")
			case !next.item: // a list or a mapping
				open["^"+regexp.QuoteMeta(path+key)+`\.`] = of(place{})
			}
		}
	}
	walk(root, "")
	if root == eventPlace {
		delete(properties, "errors") // a key of the case
		delete(open, `^errors\.`)
	}
	s := closed(properties)
	s["patternProperties"], s["description"] = open, text
	return s
}

func closed(properties map[string]any, required ...any) map[string]any {
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		s["required"] = required
	}
	return s
}

// without is the schema of what has none of the keys.
func without(keys ...string) map[string]any {
	properties := map[string]any{}
	for _, key := range keys {
		properties[key] = false
	}
	return map[string]any{"properties": properties}
}

func mapping(text string, values any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": values, "description": text}
}

// wantedText is a text that is looked for in another.
func wantedText(text string) map[string]any {
	s := map[string]any{"type": "string", "minLength": 1}
	if text != "" {
		s["description"] = text
	}
	return s
}

func yes(text string) map[string]any {
	return map[string]any{"const": true, "description": text}
}
