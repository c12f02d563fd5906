package node

import (
	"fmt"
	"testing"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
)

func TestPlacing(t *testing.T) {
	rules := []config.Placement{
		{Tenant: "acme", Groups: []string{"us", "eu"}},
		{DataType: "fire wall", Groups: []string{"net"}},
		{Tenant: "acme", DataType: "dns", Groups: []string{"eu", "us"}},
		{Tenant: "solo", DataType: "dns", Groups: []string{"eu"}},
	}
	for _, test := range []struct {
		groups           []string
		tenant, dataType string
		want             string // demand, where it is not for this node
	}{
		{nil, "other", "dns", ""},
		{nil, "acme", "x", "eu,us"},
		{nil, "acme", "dns", "eu,us"}, // one demand, twice
		{nil, "acme", "fire wall", "eu,us&net"},
		{[]string{"net"}, "acme", "fire wall", "eu,us&net"},
		{[]string{"net", "us"}, "acme", "fire wall", ""},
		{[]string{"us"}, "solo", "dns", "eu"},
		{[]string{"eu"}, "solo", "dns", ""},
		{[]string{"us"}, "solo", "x", ""},
	} {
		p := &placing{groups: test.groups}
		p.set(rules)
		for _, subject := range []string{bridge.LogSubject(test.tenant, test.dataType), bridge.DraftSubject("p", test.tenant, test.dataType)} {
			if got := p.elsewhere(subject); got != test.want || p.may(subject) != (test.want == "") {
				t.Errorf("a node of %v: %s goes to %q, want %q", test.groups, subject, got, test.want)
			}
		}
		if test.want != "" && p.takes(bridge.Token(test.want)) {
			t.Errorf("a node of %v takes what demands %q", test.groups, test.want)
		}
	}
	p := &placing{groups: []string{"eu"}}
	if p.elsewhere(bridge.LogSubject("solo", "dns")) != "" || !p.takes("us") {
		t.Error("without rules not all is taken")
	}
	p.set(rules)
	// What nothing asks for any more is worked off by all.
	for demand, want := range map[string]bool{"eu": true, "eu,us": true, "net": false, "eu,us&net": false, "eu&net": true, "gone": true} {
		if got := p.takes(bridge.Token(demand)); got != want {
			t.Errorf("takes %q: %t", demand, got)
		}
	}
	p.set(nil)
	if !p.takes("net") {
		t.Error("without rules not all is taken")
	}
}

// Where there is no rule, asking costs next to nothing.
func BenchmarkPlacing(b *testing.B) {
	subject := bridge.EventSubject("tenant", "dataType")
	for n := range 3 {
		p := &placing{}
		var rules []config.Placement
		for i := range n * 5 {
			rules = append(rules, config.Placement{Tenant: fmt.Sprint(i), Groups: []string{"x"}})
		}
		p.set(rules)
		b.Run(fmt.Sprint(n*5), func(b *testing.B) {
			for b.Loop() {
				p.elsewhere(subject)
			}
		})
	}
}
