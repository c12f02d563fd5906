package mesh

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// version is the format of questions and answers.
const version = 1

// The bounds of a question, above what any rule set asks.
const (
	maxSearches = 1000
	maxCriteria = 1000
	maxLimit    = 10_000
	maxIDs      = 4096
)

// exact is up to how many events are counted by their ids, so that one that two
// instances keep counts once. Above it what each counts is added.
const exact = 256

// enough is where the counting of a search ends.
func enough(q history.Query) int { return max(q.Limit, q.Want) }

// searchOf is a query as it is asked.
func searchOf(q history.Query) *pb.HistorySearch {
	s := &pb.HistorySearch{Index: q.Index.String(), Limit: uint32(q.Limit), Want: uint32(q.Want)}
	if !q.Since.IsZero() {
		s.Since = q.Since.UnixMilli()
	}
	if n := enough(q); n <= exact {
		s.Ids = uint32(n)
	}
	for _, c := range q.With {
		s.With = append(s.With, &pb.HistoryCriterion{Path: c.Path, Match: c.Match, Not: c.Not, Text: c.Text})
	}
	return s
}

// queryOf is a search as it is done.
func queryOf(s *pb.HistorySearch, before uint64) (history.Query, error) {
	q := history.Query{Before: before, Limit: int(max(s.Limit, s.Ids)), Want: int(s.Want), Share: true}
	var err error
	if q.Index, err = config.ParseIndexPattern(s.Index); err != nil {
		return q, err
	}
	if s.Limit > maxLimit || s.Ids > maxIDs || s.Want > 1<<31-1 || len(s.With) > maxCriteria {
		return q, errors.New("it asks for too much")
	}
	if s.Ids > 0 {
		q.Limit++ // the event itself may be among them
	}
	if s.Since != 0 {
		q.Since = time.UnixMilli(s.Since)
	}
	for _, c := range s.With {
		q.With = append(q.With, history.Criterion{Path: c.GetPath(), Match: c.GetMatch(), Not: c.GetNot(), Text: c.GetText()})
	}
	return q, nil
}

// readRequest reads what another asks.
func readRequest(data []byte) (*pb.HistoryRequest, error) {
	r := new(pb.HistoryRequest)
	if err := proto.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("question: %w", err)
	}
	switch {
	case r.Version != version:
		return nil, fmt.Errorf("question of version %d, want %d: nodes run versions that are too different", r.Version, version)
	case len(r.Searches) > maxSearches:
		return nil, fmt.Errorf("question of %d searches, want at most %d", len(r.Searches), maxSearches)
	}
	return r, nil
}

// readAnswer reads what another answered to so many searches.
func readAnswer(data []byte, searches int) (*pb.HistoryAnswer, error) {
	a := new(pb.HistoryAnswer)
	if err := proto.Unmarshal(data, a); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	switch {
	case a.Version != version:
		return nil, fmt.Errorf("answer of version %d, want %d: nodes run versions that are too different", a.Version, version)
	case a.Error != "":
		return nil, errors.New(clip(a.Error))
	case len(a.Found) != searches:
		return nil, fmt.Errorf("%d answers to %d searches", len(a.Found), searches)
	}
	return a, nil
}

// idOf is what an event is known by among nodes.
func idOf(e *pb.Event) [16]byte {
	sum := sha256.Sum256([]byte(e.Id))
	return [16]byte(sum[:])
}

// clip bounds a text that came from another.
func clip(text string) string {
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return text
}
