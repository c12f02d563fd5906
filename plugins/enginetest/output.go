package enginetest

import (
	"strings"
	"sync"

	"github.com/tidwall/gjson"
)

// Output is a plugin's log as the node reads it.
type Output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes lines of the log.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is all that was written.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Has reports whether the text is in it.
func (o *Output) Has(text string) bool { return strings.Contains(o.String(), text) }

// Lines are those with this message.
func (o *Output) Lines(message string) (found []gjson.Result) {
	for line := range strings.Lines(o.String()) {
		if r := gjson.Parse(line); r.Get("@message").String() == message {
			found = append(found, r)
		}
	}
	return found
}
