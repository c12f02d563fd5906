// Package logbuffer keeps what is logged, for tests that look at it.
package logbuffer

import (
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

// Buffer is written and read by many at once. The zero value is empty.
type Buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes lines of the log.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Has reports whether the text is in it.
func (b *Buffer) Has(text string) bool { return strings.Contains(b.String(), text) }

// Count is how often the text is in it.
func (b *Buffer) Count(text string) int { return strings.Count(b.String(), text) }

// Lines are those of a log in JSON with this message.
func (b *Buffer) Lines(message string) (found []gjson.Result) {
	for line := range strings.Lines(b.String()) {
		if r := gjson.Parse(line); r.Get("@message").String() == message {
			found = append(found, r)
		}
	}
	return found
}

// Logger writes to it.
func (b *Buffer) Logger() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Output: b}) }
