package telemetry

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestNewLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(LogOptions{Name: "epmesh", Level: "warn", Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not this")
	log.Named("engine").Warn("this", "plugin", "p")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("not on a terminal a line is JSON: %v: %s", err, out.String())
	}
	if line["@message"] != "this" || line["@module"] != "epmesh.engine" || line["@level"] != "warn" || line["plugin"] != "p" {
		t.Errorf("line %v", line)
	}
	if at, err := time.Parse(time.RFC3339Nano, line["@timestamp"].(string)); err != nil || at.Location() != time.UTC {
		t.Errorf("time %v: %v", line["@timestamp"], err)
	}

	out.Reset()
	log, err = NewLogger(LogOptions{Format: "text", Output: &out})
	if err != nil {
		t.Fatal(err)
	}
	if log.Info("hello"); !strings.Contains(out.String(), "[INFO]") || !strings.Contains(out.String(), "hello") {
		t.Errorf("line %q", out.String())
	}

	for _, opt := range []LogOptions{{Level: "loud"}, {Level: "-1"}, {Format: "xml"}} {
		if _, err := NewLogger(opt); err == nil || !strings.Contains(err.Error(), "choose") {
			t.Errorf("%+v: %v", opt, err)
		}
	}
}

func TestParseLevel(t *testing.T) {
	for text, want := range map[string]hclog.Level{
		"": hclog.Info, "DEBUG": hclog.Debug, "off": hclog.Off, "100": hclog.Debug, "200": hclog.Info, "300": hclog.Info,
		"400": hclog.Warn, "500": hclog.Error, "0": hclog.Trace,
	} {
		if got, err := ParseLevel(text); err != nil || got != want {
			t.Errorf("ParseLevel(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}
