package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/epmesh/epmesh/node/offline"
)

// explanation is what the steps did with one log.
type explanation struct {
	Log json.RawMessage `json:"log"`
	// Outcome is event, dropped or dead; Reason says why it is dead.
	Outcome      string          `json:"outcome"`
	Reason       string          `json:"reason,omitempty"`
	Pipelines    []explainedPipe `json:"pipelines"`
	Event        json.RawMessage `json:"event,omitempty"`
	Vanished     []string        `json:"vanished,omitempty"`
	Microseconds float64         `json:"microseconds"` // of all steps

	dataType string
	raw      string
	known    []string // data types that pipelines list
}

// explainedPipe is a pipeline that ran.
type explainedPipe struct {
	Position  string          `json:"position"`
	DataTypes []string        `json:"dataTypes"`
	Steps     []explainedStep `json:"steps"`
	Skipped   int             `json:"skipped"` // steps, whether they are listed or not
}

// explainedStep is one step. Values are JSON.
type explainedStep struct {
	Step         int                `json:"step"` // in the pipeline, from 1
	Position     string             `json:"position"`
	Kind         string             `json:"kind"`
	Where        string             `json:"where,omitempty"`
	Outcome      string             `json:"outcome"`
	Decided      string             `json:"decided,omitempty"`
	Changes      []explainedChange  `json:"changes,omitempty"`
	Unmatched    *explainedMismatch `json:"unmatched,omitempty"`
	Errors       []string           `json:"errors,omitempty"`
	Microseconds float64            `json:"microseconds"`

	time  time.Duration
	parts int // of a grok
}

type explainedChange struct {
	Field string          `json:"field"`
	Old   json.RawMessage `json:"old,omitempty"`
	New   json.RawMessage `json:"new,omitempty"`
}

// explainedMismatch says where a grok failed.
type explainedMismatch struct {
	Source  string `json:"source"`
	Missing bool   `json:"missing,omitempty"`
	Pattern int    `json:"pattern,omitempty"` // from 1
	Field   string `json:"field,omitempty"`
	Text    string `json:"text,omitempty"` // of the pattern
	Rest    string `json:"rest,omitempty"`
}

// explain shows what each step does with one log of the input.
func (c *parseCmd) explain(a *app, r *offline.Runner, in io.Reader) error {
	line, at, err := c.explained(a, in)
	if err != nil {
		return err
	}
	log, unknown, err := c.decode(line)
	if err != nil {
		return fmt.Errorf("line %d: %w; --raw with --data-type takes lines that are no JSON", at, err)
	}
	keys := misspelt{w: a.stderr, told: map[string]bool{}}
	keys.tell(at, unknown)
	result, traces, err := r.Explain(a.ctx, log)
	if err != nil && interrupted(a.ctx) {
		return err
	}
	e := explanation{dataType: log.GetDataType(), raw: log.GetRaw()}
	if e.Log, err = e.settle(result, err, log); err != nil {
		return err
	}
	e.steps(r, traces)
	if c.JSON {
		if !c.All {
			e.leaveOutSkipped()
		}
		out := json.NewEncoder(a.stdout)
		out.SetEscapeHTML(false)
		return out.Encode(e)
	}
	_, err = io.WriteString(a.stdout, explainText(e, width(a.stdout), c.All))
	return err
}

// explained reads the line that is asked for.
func (c *parseCmd) explained(a *app, in io.Reader) (line []byte, at int, err error) {
	read := make(chan struct{})
	var found []byte
	var number int
	var failed error
	go func() {
		defer close(read)
		found, number, failed = offline.Line(in, c.Line)
	}()
	select {
	case <-read:
	case <-a.ctx.Done():
		return nil, 0, errors.New("interrupted before there was a log to explain")
	}
	switch {
	case errors.Is(failed, io.EOF) && c.Line > 0:
		return nil, 0, fmt.Errorf("the input has no line %d", c.Line)
	case errors.Is(failed, io.EOF):
		return nil, 0, errors.New("there is no log in the input to explain")
	case failed != nil:
		return nil, 0, fmt.Errorf("read logs: %w", failed)
	}
	return found, number, nil
}
