package syslog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/plugins"
)

func TestIdentifies(t *testing.T) {
	for msg, want := range map[string]bool{
		"<34>1 2026-11-23T18:00:00.123456Z host su - - - text":                                    true,
		"<34>1 2026-11-23T18:00:00.1+01:00 host su - - - text":                                    true,
		"<34>1 2026-11-23T18:00:00.000000+00:00 host su - - - text":                               false,
		"<34>1 2026-11-23T18:00:00Z host su - - - text":                                           false,
		"<34>1 - host su - - - text 18:00:00.123":                                                 false,
		`<34>1 2026-11-23T18:00:00Z h su - - [meta sequenceId="7"] text`:                          true,
		`<34>1 2026-11-23T18:00:00Z h su - - [x@1 a="]\"[meta"][meta ip="1" sequenceId="7"] text`: true,
		`<34>1 2026-11-23T18:00:00Z h su - - [x@1 a="[meta sequenceId=\"7\"]"] text`:              false,
		`<34>1 2026-11-23T18:00:00Z h su - - [meta sequenceId=""] text`:                           false,
		`<34>1 2026-11-23T18:00:00Z h su - - [meta xsequenceId="7"] text`:                         false,
		`<34>1 2026-11-23T18:00:00Z h su - - - [meta sequenceId="7"]`:                             false,
		`<34>1 - h su - - [meta sequenceId="7"] text`:                                             false,
		`<34>1 2026-11-23T18:00:00Z h su - - [meta sequenceId="`:                                  false,
		"<13>Nov 23 18:00:01 web-1 sshd[1]: took 18:00:00.123":                                    false,
		"<13>Nov 23 18:00:01.123 web-1 sshd[1]: text":                                             true,
		"<13>Nov 23 2026 18:00:01.123 web-1 sshd[1]: text":                                        true,
		"<13>2026-11-23T18:00:01.123456+01:00 web-2 app: text":                                    true,
		"<13>2026-11-23T18:00:01+01:00 web-2 app: 1.5":                                            false,
		"2026-11-23T18:00:01.123456+01:00 no priority":                                            false,
		"<13>text": false,
		"":         false,
	} {
		if got := identifies(msg); got != want {
			t.Errorf("%q: %v", msg, got)
		}
	}
}

// ids are those of messages on one connection.
func ids(mode string, msgs ...string) (out []string) {
	i := identity{mode: mode}
	for _, m := range msgs {
		l := &plugins.Log{DataType: "d", DataSource: "s", Raw: m}
		i.set(l)
		out = append(out, l.Id)
	}
	return out
}

func TestIdentity(t *testing.T) {
	sure, unsure := "<34>1 2026-11-23T18:00:00.1Z host su - - - text", "<34>1 2026-11-23T18:00:00Z host su - - - text"
	a, b := ids("auto", sure, unsure, sure, sure+"2"), ids("auto", sure, unsure, sure, sure+"2")
	if fmt.Sprint(a) != fmt.Sprint(b) || a[0] == a[2] || a[0] == a[3] || a[0] == "" || a[1] != "" {
		t.Errorf("auto: %q, and again %q", a, b)
	}
	if x, y := ids("auto", sure), ids("auto", sure+"2"); x[0] == y[0] {
		t.Error("different messages have the same id")
	}
	if c := ids("content", unsure, unsure); c[0] == "" || c[0] == c[1] || c[0] != ids("content", unsure)[0] {
		t.Errorf("content: %q", c)
	}
	if c := ids("random", sure); c[0] != "" {
		t.Errorf("random: %q", c)
	}
	// Memory is bounded, and what fell out of it falls out again the same way.
	var many []string
	for n := range 5 * recent {
		many = append(many, fmt.Sprintf("%s %d", sure, n%(3*recent)))
	}
	if x, y := ids("auto", many...), ids("auto", many...); fmt.Sprint(x) != fmt.Sprint(y) {
		t.Error("the same messages again have other ids")
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add("<34>1 2026-11-23T18:00:00Z h su - - [x@1 a=\"]\\\"\"][meta sequenceId=\"7\"] text")
	f.Add("<13>Nov 23 18:00:01.123 web-1 sshd[1]: text")
	f.Fuzz(func(t *testing.T, msg string) {
		id := ids("auto", msg, msg)
		if identifies(msg) != (id[0] != "") || id[0] != "" && id[0] == id[1] {
			t.Errorf("%q: %q", msg, id)
		}
		if identifies(msg) && !strings.HasPrefix(msg, "<") {
			t.Errorf("%q has no header", msg)
		}
		if c := ids("content", msg); c[0] == "" || c[0] != ids("content", msg)[0] {
			t.Errorf("%q: %q", msg, c)
		}
	})
}
