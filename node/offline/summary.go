package offline

import "time"

// Summary is what became of an input.
type Summary struct {
	// Logs is how many lines were read, blank ones not counted. Each of them is
	// one of Events, Dropped, Undecodable and Unfinished.
	Logs   int `json:"logs"`
	Events int `json:"events"`
	// WithErrors is how many of Events carry errors.
	WithErrors int `json:"withErrors"`
	Dropped    int `json:"dropped"`
	// Undecodable lines are no logs, or can become no event.
	Undecodable int `json:"undecodable"`
	// NoLogs is how many of Undecodable Decode could not read: see ErrNoLog.
	NoLogs int `json:"-"`
	// Unfinished logs were read and then given up, since the command was ended.
	Unfinished int `json:"unfinished,omitempty"`

	// Vanished counts the fields of drafts that an Event has no place for, and
	// VanishedFields them by path, where the Runner lists them: no more than
	// 1000 paths.
	Vanished       int            `json:"vanished"`
	VanishedFields map[string]int `json:"vanishedFields,omitempty"`
	// Unlisted counts, by data type, the events that no pipeline touched, since
	// none lists the data type: no more than 1000 types.
	Unlisted map[string]int `json:"unlisted,omitempty"`
	// UnknownKeys is how many logs had keys that a Log does not have.
	UnknownKeys int `json:"unknownKeys"`
	// TooLarge is how many logs were larger than a node takes: input.max_log.
	TooLarge int `json:"tooLarge"`
	// Missed are the calls that found their plugin away, by its name.
	Missed map[string]int `json:"missed,omitempty"`

	Seconds float64 `json:"seconds"`
}

// Rate is how many logs were done in a second.
func (s Summary) Rate() float64 {
	if s.Seconds <= 0 {
		return 0
	}
	return float64(s.Logs-s.Unfinished) / s.Seconds
}

// maxNames bounds what VanishedFields and Unlisted name.
const maxNames = 1000

// add counts one log.
func (s *Summary) add(o *outcome) {
	s.Logs++
	switch {
	case o.unfinished:
		s.Unfinished++
	case o.dead != "":
		s.Undecodable++
		if o.noLog {
			s.NoLogs++
		}
	case o.dropped:
		s.Dropped++
	default:
		s.Events++
		if o.errors > 0 {
			s.WithErrors++
		}
		if o.unlisted != "" {
			countIn(&s.Unlisted, o.unlisted)
		}
	}
	s.Vanished += o.vanished
	for _, path := range o.vanishedFields {
		countIn(&s.VanishedFields, path)
	}
	if len(o.unknownKeys) > 0 {
		s.UnknownKeys++
	}
	if o.tooLarge {
		s.TooLarge++
	}
}

func countIn(counts *map[string]int, name string) {
	if *counts == nil {
		*counts = map[string]int{}
	}
	if _, known := (*counts)[name]; known || len(*counts) < maxNames {
		(*counts)[name]++
	}
}

func (s *Summary) since(start time.Time) { s.Seconds = time.Since(start).Seconds() }
