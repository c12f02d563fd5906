package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

const (
	reportPrefix = "node."
	// ReportsFor is how long it is known what a node made of a revision.
	ReportsFor = 7 * 24 * time.Hour
	// What a node says about why, at most.
	maxReasons = 20
)

// RevisionReport is what a node made of the newest revision that it knows.
type RevisionReport struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Time    time.Time `json:"time"` // by the node's clock

	// Seen is the newest revision that it knows, and Applied the one that it
	// runs, 0 for none: its own files. They differ where it has refused Seen, or
	// could not lay it down yet.
	Seen    uint64 `json:"seen"`
	Applied uint64 `json:"applied"`
	// Refused: it does not take Seen, and waits for another. Else, where the two
	// differ, it tries again by itself.
	Refused bool     `json:"refused,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	// Replaced is where it has put local files that were in no revision.
	Replaced string `json:"replaced,omitempty"`
}

// ReportRevision tells what this node made of a revision.
func (b *Bridge) ReportRevision(ctx context.Context, r RevisionReport) error {
	r.Reasons = slices.Clone(r.Reasons)
	if n := len(r.Reasons); n > maxReasons {
		r.Reasons = append(r.Reasons[:maxReasons], fmt.Sprintf("and %d more", n-maxReasons))
	}
	for i := range r.Reasons {
		r.Reasons[i] = shorten(r.Reasons[i], maxRevisionText)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report revision: %w", err)
	}
	return b.configs().put(ctx, reportPrefix+stateToken(r.Node), data, ReportsFor)
}

// RevisionReports are what nodes have told within ReportsFor, by node.
func (b *Bridge) RevisionReports(ctx context.Context) ([]RevisionReport, error) {
	entries, err := b.configs().list(ctx, reportPrefix)
	if err != nil {
		return nil, err
	}
	var list []RevisionReport
	for _, e := range entries {
		var r RevisionReport
		if json.Unmarshal(e.value, &r) == nil && r.Node != "" {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b RevisionReport) int { return cmp.Compare(a.Node, b.Node) })
	return list, nil
}
