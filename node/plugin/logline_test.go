package plugin

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

var lineTests = []struct {
	name, line string
	isErr      bool
	want       logLine
}{
	{
		name: "sdk", line: `{"timestamp":"2026-01-02T03:04:05Z","code":"0cc175","trace":["main 3"],"msg":"cannot open","cause":"EACCES","args":{"process":"plugin_x","status":400},"severity":"ERROR"}`,
		want: logLine{hclog.Error, "cannot open", []any{"cause", "EACCES", "trace", `["main 3"]`, "process", "plugin_x", "status", "400"}},
	},
	{
		name: "sdk with a symbol", line: `❌ {"msg":"m","severity":"CRITICAL"}`,
		want: logLine{hclog.Error, "m", nil},
	},
	{
		name: "sdk notice", line: `📢 {"msg":"m","severity":"NOTICE"}`,
		want: logLine{hclog.Info, "m", nil},
	},
	{
		name: "hclog", line: `{"@level":"debug","@message":"opened","@module":"syslog.tcp","@timestamp":"x","deep":{"b":[1,true,null]},"n":1.50,"none":null,"ok":true}`,
		want: logLine{hclog.Debug, "opened", []any{"deep", `{"b":[1,true,null]}`, "module", "syslog.tcp", "n", "1.50", "none", nil, "ok", true}},
	},
	{
		name: "slog", line: `{"time":"x","level":"WARN","msg":"slow","ms":3}`, isErr: true,
		want: logLine{hclog.Warn, "slow", []any{"ms", "3"}},
	},
	{name: "text", line: "hello", want: logLine{hclog.Info, "hello", nil}},
	{name: "text on standard error", line: "panic: x", isErr: true, want: logLine{hclog.Warn, "panic: x", nil}},
	{name: "JSON without a message", line: `{"a":1}`, want: logLine{hclog.Info, `{"a":1}`, nil}},
	{name: "JSON and more", line: `{"msg":"a"} b`, want: logLine{hclog.Info, `{"msg":"a"} b`, nil}},
	{name: "text before JSON", line: `got {"msg":"a"}`, want: logLine{hclog.Info, `got {"msg":"a"}`, nil}},
	{name: "half JSON", line: `{"msg":"a`, want: logLine{hclog.Info, `{"msg":"a`, nil}},
	{name: "control characters", line: "a\x1b[31mb\x00c\td", want: logLine{hclog.Info, "a[31mbc\td", nil}},
	{name: "line breaks in JSON", line: `{"msg":"a\nb\u001b","x":"c\nd"}`, want: logLine{hclog.Info, "a b", []any{"x", "c\nd"}}},
	{name: "not UTF-8", line: "a\xffb", want: logLine{hclog.Info, "a\uFFFDb", nil}},
}

func TestParseLine(t *testing.T) {
	for _, tc := range lineTests {
		t.Run(tc.name, func(t *testing.T) {
			got := parseLine([]byte(tc.line), tc.isErr)
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(logLine{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestListening(t *testing.T) {
	for line, want := range map[string]Listening{
		`{"@message":"listening","network":"udp","address":":514"}`:                             {"udp", ":514"},
		`{"msg":"listening","args":{"network":"tcp","address":"[::]:1514"}}`:                    {"tcp", "[::]:1514"},
		`{"@message":"listening","network":"udp"}`:                                              {},
		`{"@message":"listening","network":"tcp","address":"` + strings.Repeat("1", 300) + `"}`: {},
		`{"@message":"listening closely","network":"udp","address":":514"}`:                     {},
		`listening network=udp address=:514`:                                                    {},
	} {
		l := parseLine([]byte(line), false)
		got, ok := l.listening()
		if ok != (want != Listening{}) || ok && got != want {
			t.Errorf("%s: %v %v", line, got, ok)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for _, tc := range lineTests {
		f.Add([]byte(tc.line), tc.isErr)
	}
	f.Fuzz(func(t *testing.T, raw []byte, isErr bool) {
		l := parseLine(raw, isErr)
		if !utf8.ValidString(l.message) || strings.ContainsFunc(l.message, hidden) || strings.Contains(l.message, "\n") {
			t.Errorf("message %q", l.message)
		}
		if len(l.fields)%2 != 0 || len(l.fields) > 2*maxFields {
			t.Errorf("%d fields", len(l.fields))
		}
		for _, field := range l.fields {
			if s, ok := field.(string); ok && (!utf8.ValidString(s) || strings.ContainsFunc(s, hidden)) {
				t.Errorf("field %q", s)
			}
		}
		l.listening()
	})
}
