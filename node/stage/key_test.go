package stage

import (
	"strings"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

func TestKey(t *testing.T) {
	body := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	event := body(&pb.Event{
		TenantId: "t1", DataSource: "host", Origin: &pb.Side{Ip: "10.0.0.1"},
		Log: map[string]*structpb.Value{"n": structpb.NewNumberValue(7), "list": structpb.NewListValue(&structpb.ListValue{})},
	})
	alert := body(&pb.Alert{TenantId: "t2", Adversary: &pb.Side{Ip: "10.0.0.2"}})
	message := body(&pb.Message{Topic: "x"})
	analysis, correlation := bridge.AnalysisConsumer("p"), bridge.CorrelationConsumer("p")
	notification := bridge.NotificationConsumer("p", nil, nil)
	for _, c := range []struct {
		consumer  bridge.Consumer
		key, want string
		body      []byte
	}{
		{analysis, "tenantId", "t1", event},
		{analysis, "origin.ip", "10.0.0.1", event},
		{analysis, "log.n", "7", event},
		{analysis, "log.list", "", event},
		{analysis, "log.none", "", event},
		{analysis, "target.ip", "", event},
		{analysis, `tenantId + "/" + dataSource`, "t1/host", event},
		{analysis, `tenantId + "/" + action`, "", event}, // a field that is not there
		{analysis, "origin.ip", "", []byte("no protobuf")},
		{bridge.EventOutputConsumer("p"), "tenantId", "t1", event},
		{correlation, "adversary.ip", "10.0.0.2", alert},
		{bridge.AlertOutputConsumer("p"), "tenantId", "t2", alert},
		{notification, "topic", "x", message},
	} {
		c.consumer.Affinity.Key = c.key
		key, err := Key(c.consumer)
		if err != nil {
			t.Errorf("%s: %v", c.key, err)
			continue
		}
		if got := key(bridge.Item{Body: c.body}); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.key, c.consumer.Name(), got, c.want)
		}
	}
	analysis.Affinity.Key = `tenantId +`
	if _, err := Key(analysis); err == nil || !strings.Contains(err.Error(), "mesh.affinity.p") {
		t.Errorf("no expression: %v", err)
	}
	draft := bridge.DraftConsumer("p")
	draft.Affinity.Key = "tenantId"
	if _, err := Key(draft); err == nil {
		t.Error("drafts have a key")
	}
}
