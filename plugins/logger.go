package plugins

import (
	"io"
	"os"
	"strconv"

	"github.com/hashicorp/go-hclog"
)

// NewLogger returns a logger that writes JSON lines to w (standard error if
// nil): the node reads them and keeps level, message and fields. LOG_LEVEL sets
// what is written: a level's name, or the SDK's numbers (100 debug, 200 info,
// 300 warnings, 400 and above errors).
func NewLogger(name string, w io.Writer) hclog.Logger {
	if w == nil {
		w = os.Stderr
	}
	return hclog.New(&hclog.LoggerOptions{
		Name:       name,
		Level:      level(os.Getenv("LOG_LEVEL")),
		Output:     w,
		JSONFormat: true,
	})
}

func level(text string) hclog.Level {
	n, err := strconv.Atoi(text)
	if err != nil {
		if l := hclog.LevelFromString(text); l != hclog.NoLevel {
			return l
		}
		return hclog.Info
	}
	switch {
	case n < 100:
		return hclog.Trace
	case n < 200:
		return hclog.Debug
	case n < 300:
		return hclog.Info
	case n < 400:
		return hclog.Warn
	}
	return hclog.Error
}
