package telemetry

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/term"
)

// LogOptions say how a node writes its own log.
type LogOptions struct {
	// Name stands in every line.
	Name string
	// Level is trace, debug, info, warn, error or off, or a number as the
	// ecosystem's LOG_LEVEL has it (200 is info). "" is info.
	Level string
	// Format is text, json or auto: text on a terminal, JSON otherwise. "" is
	// auto.
	Format string
	// Output is where lines go; nil is standard error.
	Output io.Writer
}

// NewLogger makes a node's logger. It is safe for concurrent use. Its errors
// name the values that can be given.
func NewLogger(opt LogOptions) (hclog.Logger, error) {
	level, err := ParseLevel(opt.Level)
	if err != nil {
		return nil, err
	}
	if opt.Output == nil {
		opt.Output = os.Stderr
	}
	terminal := isTerminal(opt.Output)
	json := false
	switch strings.ToLower(opt.Format) {
	case "", "auto":
		json = !terminal
	case "json":
		json = true
	case "text":
	default:
		return nil, fmt.Errorf("log format %q: choose auto, text or json", opt.Format)
	}
	h := &hclog.LoggerOptions{
		Name:       opt.Name,
		Level:      level,
		Output:     opt.Output,
		JSONFormat: json,
		TimeFn:     func() time.Time { return time.Now().UTC() },
		TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	}
	if terminal && !json {
		h.Color = hclog.AutoColor
		h.ColorHeaderOnly = true
		h.TimeFn = time.Now
		h.TimeFormat = "15:04:05.000"
	}
	return hclog.New(h), nil
}

// ParseLevel reads a level as LogOptions has it.
func ParseLevel(text string) (hclog.Level, error) {
	if text == "" {
		return hclog.Info, nil
	}
	if n, err := strconv.Atoi(text); err == nil {
		switch {
		case n < 0:
		case n < 100:
			return hclog.Trace, nil
		case n < 200:
			return hclog.Debug, nil
		case n < 400: // 300 is "notice"
			return hclog.Info, nil
		case n < 500:
			return hclog.Warn, nil
		default:
			return hclog.Error, nil
		}
	}
	if level := hclog.LevelFromString(text); level != hclog.NoLevel {
		return level, nil
	}
	return hclog.NoLevel, fmt.Errorf("log level %q: choose trace, debug, info, warn, error or off, or a number such as 200", text)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
