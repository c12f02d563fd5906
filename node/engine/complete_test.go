package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
)

// What the socket fills into a log's bytes is what commands fill into a log.
func TestCompletedAlike(t *testing.T) {
	now := time.Date(2026, 9, 23, 14, 0, 0, 123, time.FixedZone("", 3600))
	for bits := range 32 {
		given := &pb.Log{Raw: "x"}
		for i, field := range []*string{&given.Id, &given.DataType, &given.DataSource, &given.Timestamp, &given.TenantId} {
			if bits>>i&1 != 0 {
				*field = fmt.Sprint("given ", i)
			}
		}
		frame, err := proto.Marshal(given)
		if err != nil {
			t.Fatal(err)
		}
		e := (&intake{tenant: "tenant", maxLog: 1 << 20}).log(frame, now)
		socket := new(pb.Log)
		if err := proto.Unmarshal(e.item.Body, socket); err != nil {
			t.Fatal(err)
		}
		wire.LogDefaults{ID: string(e.ackID), Tenant: "tenant", Now: now}.Complete(given)
		if !proto.Equal(socket, given) {
			t.Errorf("the socket makes %v, a command %v", socket, given)
		}
		if given.Id == "" || given.DataType == "" || given.DataSource == "" || given.Timestamp == "" || given.TenantId == "" {
			t.Errorf("not complete: %v", given)
		}
	}
}
