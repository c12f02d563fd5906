package cel

import (
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
)

// severities are the names of impact scores.
var severities = [...]string{"none", "low", "medium", "high"}

// alertSpace is the name space of alert ids.
var alertSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/epmesh/epmesh/alert"))

// alertID derives from what the alert is made of: the same rule holds for the
// same event once.
func alertID(r *rule, e *pb.Event) string {
	return uuid.NewSHA1(alertSpace, []byte(r.key+"\x00"+e.Id)).String()
}

// newAlert makes the alert of a rule that holds for e, with the history that it
// found: the newest of it, within the bounds, oldest first, and e last.
func newAlert(r *rule, e *pb.Event, history []*pb.Event, now time.Time, maxEvents, maxBytes int) *pb.Alert {
	p := r.proto
	stamp := now.UTC().Format(time.RFC3339Nano)
	a := &pb.Alert{
		Id: alertID(r, e), Timestamp: stamp, LastUpdate: stamp,
		Name: p.Name, Category: p.Category, Technique: p.Technique, Description: p.Description,
		References: p.References, DeduplicateBy: p.DeduplicateBy, GroupBy: p.GroupBy,
		TenantId: e.TenantId, TenantName: e.TenantName, DataType: e.DataType, DataSource: e.DataSource,
		Impact: p.Impact, Adversary: e.Origin, Target: e.Target,
	}
	if p.Adversary == "target" {
		a.Adversary, a.Target = e.Target, e.Origin
	}
	a.ImpactScore = impactScore(p)
	a.Severity = severityOf(a.ImpactScore)

	// The history comes newest first.
	n, room := 0, maxBytes
	for n < min(len(history), maxEvents) {
		if room -= proto.Size(history[n]); room < 0 {
			break
		}
		n++
	}
	for i := n - 1; i >= 0; i-- {
		a.Events = append(a.Events, history[i])
	}
	a.Events = append(a.Events, e)
	return a
}

// impactScore is the largest of a rule's three impacts.
func impactScore(r *pb.Rule) uint32 {
	return max(r.Impact.GetConfidentiality(), r.Impact.GetIntegrity(), r.Impact.GetAvailability())
}

func severityOf(score uint32) string { return severities[min(int(score), len(severities)-1)] }
