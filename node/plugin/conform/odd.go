package conform

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/epmesh/epmesh/node/plugin"
	pb "github.com/epmesh/epmesh/proto"
)

// odd is an item that no well-behaved mesh would send, or only a strange log
// makes, and that must not end a plugin.
type odd struct {
	what string
	item proto.Message
}

// strangeText holds what text may hold: a NUL, line breaks of other alphabets, a
// mark of writing direction, a character above the first plane.
const strangeText = "a\x00b\u2028c\u202ed\U0001F600\t\r\n\"\\"

// deep is how deep the nested items go; parsers that call themselves run out
// of stack somewhere.
const deep = 10_000

func (it *items) odd() []odd {
	switch it.kind {
	case plugin.Parsing:
		return it.oddDrafts()
	case plugin.Correlation:
		return oddAlerts()
	case plugin.Notification:
		return []odd{
			{"an empty message", &pb.Message{}},
			{"a message without topic", &pb.Message{Id: "odd", Message: "{}"}},
			{"a message that is no JSON", &pb.Message{Id: "odd", Topic: "incident", Message: "not JSON {"}},
			{"a message of another shape", &pb.Message{Id: "odd", Topic: "incident", Message: `[1,"two",{"a":null}]`}},
			{"strange characters", &pb.Message{Id: strangeText, Timestamp: strangeText, Topic: strangeText, Message: strangeText}},
			{"a deeply nested message", &pb.Message{Id: "odd", Topic: "incident", Message: nested(deep)}},
			{"a time that is none", &pb.Message{Id: "odd", Topic: "incident", Timestamp: "yesterday", Message: "{}"}},
		}
	case plugin.Output:
		return append(oddEvents(), oddAlerts()...)
	}
	return oddEvents()
}

func nested(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }

func (it *items) oddDrafts() []odd {
	list := []odd{
		{"a call without draft and step", &pb.Transform{}},
		{"a call without step", &pb.Transform{Draft: &pb.Draft{Log: it.draft}}},
		{"another plugin's step", &pb.Transform{Draft: &pb.Draft{Log: it.draft}, Step: &pb.Step{Kv: &pb.Kv{}}}},
		{"parameters of other types", &pb.Transform{Draft: &pb.Draft{Log: it.draft}, Step: &pb.Step{Dynamic: &pb.Dynamic{
			Plugin: it.name, Params: it.otherParams(), Where: "???",
		}}}},
	}
	for _, d := range []struct{ what, text string }{
		{"an empty draft", ``},
		{"a draft that is no JSON", `not JSON {`},
		{"a draft cut off", it.draft[:len(it.draft)/2]},
		{"a draft that is a list", `[1,2,3]`},
		{"a draft that is null", `null`},
		{"a draft without fields", `{}`},
		{"a draft whose log is a text", `{"id":"odd","raw":"x","log":"text"}`},
		{"a draft whose log is null", `{"id":"odd","raw":"x","log":null,"origin":null,"target":[]}`},
		{"a draft with values of other types", `{"id":7,"raw":["x"],"log":{"url":{"a":1},"message":false,"count":"seven"},"origin":"x","action":[]}`},
		{"a draft with numbers beyond all bounds", `{"id":"odd","raw":"x","log":{"count":1e999,"n":-0,"big":123456789012345678901234567890}}`},
		{"a draft with half a character", `{"id":"odd","raw":"\ud800","log":{"message":"\udfff x","url":"http://\ud800"}}`},
		{"a draft with strange characters", withID(`{"raw":"a\u0000b\u2028c\u202ed","log":{"":"","a.b":1,"*":2,"#":3,"message":"\u0000"}}`, strangeText)},
		{"a draft with a key twice", `{"id":"odd","id":"even","raw":"x","log":{"a":1},"log":{"a":2}}`},
		{"a deeply nested draft", `{"id":"odd","raw":"x","log":` + nested(deep) + `}`},
	} {
		list = append(list, odd{d.what, it.transform(d.text)})
	}
	return list
}

// otherParams are the usual parameters with values that nobody expects.
func (it *items) otherParams() map[string]*structpb.Value {
	values := []*structpb.Value{{}, structpb.NewNullValue(), structpb.NewNumberValue(-1e300), structpb.NewListValue(&structpb.ListValue{}), nil}
	params := map[string]*structpb.Value{"": structpb.NewStringValue(""), strangeText: structpb.NewBoolValue(true)}
	i := 0
	for name := range it.params {
		params[name] = values[i%(len(values)-1)]
		i++
	}
	for i, name := range []string{"source", "destination", "field", "value"} {
		if params[name] == nil {
			params[name] = values[i%(len(values)-1)]
		}
	}
	return params
}

func oddEvents() []odd {
	deepValue := structpb.NewStringValue("end")
	for range 90 { // protobuf parsers stop at a hundred or ten thousand; all know this
		deepValue = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"a": deepValue}})
	}
	wide := map[string]*structpb.Value{}
	for i := range 5000 {
		wide[fmt.Sprint("field", i)] = structpb.NewNumberValue(float64(i))
	}
	return []odd{
		{"an empty event", &pb.Event{}},
		{"an event without sides and log", &pb.Event{Id: "odd", DataType: "conform", Raw: "x"}},
		{"a log of values that are none", &pb.Event{Id: "odd", Log: map[string]*structpb.Value{
			"": {}, "message": structpb.NewNullValue(), "failures": structpb.NewStringValue("twelve"), "ok": structpb.NewListValue(&structpb.ListValue{}),
		}}},
		{"strange characters", &pb.Event{
			Id: strangeText, Timestamp: strangeText, DataType: strangeText, DataSource: strangeText, TenantId: strangeText, Raw: strangeText,
			Origin: &pb.Side{Ip: strangeText, User: strangeText}, Log: map[string]*structpb.Value{strangeText: structpb.NewStringValue(strangeText)},
		}},
		{"a time and an address that are none", &pb.Event{Id: "odd", Timestamp: "yesterday", DeviceTime: "-", Origin: &pb.Side{Ip: "999.1.1.1", Port: 4e9}}},
		{"a deeply nested log", &pb.Event{Id: "odd", Raw: "x", Log: map[string]*structpb.Value{"a": deepValue}}},
		{"a log of 5000 fields", &pb.Event{Id: "odd", Raw: "x", Log: wide}},
	}
}

func oddAlerts() []odd {
	many := &pb.Alert{Id: "odd", Name: "many events"}
	for i := range 2000 {
		many.Events = append(many.Events, &pb.Event{Id: fmt.Sprint("odd-", i)})
	}
	return []odd{
		{"an empty alert", &pb.Alert{}},
		{"an alert without events", &pb.Alert{Id: "odd", Name: "x"}},
		{"an alert with an empty event", &pb.Alert{Id: "odd", Name: "x", Events: []*pb.Event{{}}}},
		{"an alert of 2000 events", many},
		{"strange characters", &pb.Alert{Id: strangeText, Name: strangeText, Severity: strangeText, Timestamp: strangeText, Adversary: &pb.Side{Ip: strangeText}}},
		{"values beyond their range", &pb.Alert{Id: "odd", Name: "x", Impact: &pb.Impact{Confidentiality: 4e9}, ImpactScore: 4e9, Severity: "???", Timestamp: "yesterday"}},
		{"paths that lead nowhere", &pb.Alert{Id: "odd", Name: "x", DeduplicateBy: []string{"", "..", "a.b.c", strangeText}, GroupBy: []string{"lastEvent.", "lastEvent.log.x"}}},
	}
}
