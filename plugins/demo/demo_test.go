package demo

import (
	"context"
	"io/fs"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
)

func generate(s settings, until time.Duration) (out []line) {
	g := newGenerator(s)
	for {
		l, ok := g.next(until)
		if !ok {
			return out
		}
		out = append(out, l)
	}
}

var usual = settings{Rate: 200, Seed: 1, Attacks: true, FirstAttack: plugins.Duration(time.Second), Every: plugins.Duration(time.Minute)}

func TestSameSeedSameLines(t *testing.T) {
	at := time.Unix(1_800_000_000, 0).UTC()
	a, b := generate(usual, 30*time.Second), generate(usual, 30*time.Second)
	other := usual
	other.Seed = 2
	c := generate(other, 30*time.Second)
	same := 0
	for i := range a {
		if a[i].text(at) != b[i].text(at) || a[i].at != b[i].at {
			t.Fatalf("line %d differs", i)
		}
		if i > 0 && a[i].at < a[i-1].at {
			t.Fatalf("line %d goes back in time", i)
		}
		if i < len(c) && a[i].text(at) == c[i].text(at) {
			same++
		}
	}
	if same > len(a)/10 {
		t.Errorf("another seed gave %d of %d lines alike", same, len(a))
	}
	if n := len(a); n < 6000 || n > 6150 {
		t.Errorf("%d lines in 30 s at 200 a second", n)
	}
}

// An intrusion comes from one address, begins within a second and a half, takes
// its steps in order and ends with a login and the data that it lets out, at any
// rate of other traffic.
func TestIntrusionIsOneStory(t *testing.T) {
	steps := []*regexp.Regexp{
		regexp.MustCompile(`"verdict":"deny".*"src":"(203\.0\.113\.\d+)"`),
		regexp.MustCompile(`^\S+ (203\.0\.113\.\d+) - - .* 404 `),
		regexp.MustCompile(`Failed password for .* from (203\.0\.113\.\d+) `),
		regexp.MustCompile(`Accepted password for deploy from (203\.0\.113\.\d+) `),
		regexp.MustCompile(`"verdict":"allow".*"dst":"(203\.0\.113\.\d+)","dport":443,"bytes":[2-9]\d{7}\b`),
	}
	for _, rate := range []float64{0, 1, 200, 5000} {
		s := usual
		s.Rate = rate
		addresses, counts, last := map[string]bool{}, make([]int, len(steps)), 0
		for _, l := range generate(s, 20*time.Second) {
			text := l.text(time.Now())
			for i, step := range steps {
				m := step.FindStringSubmatch(text)
				if m == nil {
					continue
				}
				if counts[i]++; i < last {
					t.Errorf("rate %v: step %d after step %d", rate, i, last)
				}
				if len(addresses) == 0 && l.at > 1500*time.Millisecond {
					t.Errorf("rate %v: began at %s", rate, l.at)
				}
				last, addresses[m[1]] = i, true
			}
		}
		if len(addresses) != 1 || counts[0] < 20 || counts[1] < 15 || counts[2] < 10 || counts[3] != 1 || counts[4] < 1 {
			t.Errorf("rate %v: addresses %v, lines a step %v", rate, addresses, counts)
		}
	}
}

// Only addresses and names that are kept for examples.
func TestExampleAddressesOnly(t *testing.T) {
	var allowed []netip.Prefix
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"} {
		allowed = append(allowed, netip.MustParsePrefix(p))
	}
	address := regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b`)
	for _, l := range generate(usual, 2*time.Minute) {
		text := l.text(time.Now())
		if strings.Contains(text, "Mozilla") { // versions look like addresses
			text, _, _ = strings.Cut(text, `"Mozilla`)
		}
		for _, a := range address.FindAllString(text, -1) {
			ip, err := netip.ParseAddr(a)
			ok := err == nil
			for _, p := range allowed {
				if ok && p.Contains(ip) {
					ok = false
				}
			}
			if ok || err != nil {
				t.Fatalf("%s in %s", a, text)
			}
		}
		if !strings.HasSuffix(l.host, ".example.com") {
			t.Fatalf("host %s", l.host)
		}
	}
}

func TestFilesLoad(t *testing.T) {
	pipeline, err := fs.ReadFile(Files(), "pipeline/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, report := config.Parse("demo.yaml", pipeline)
	if len(report) > 0 || len(set.Pipelines) != 3 {
		t.Errorf("%d pipelines\n%s", len(set.Pipelines), report)
	}
	text, err := fs.ReadFile(Files(), "rules/demo.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules, report := config.ParseRules("demo.yml", text)
	if len(report) > 0 || len(rules) != 5 {
		t.Errorf("%d rules\n%s", len(rules), report)
	}
}

func TestRun(t *testing.T) {
	e := enginetest.New(t, shortdir.New(t))
	r, err := New(plugins.Instance{Name: "demo", Dir: e.Dir, Logger: hclog.NewNullLogger(), Config: gjson.Parse(`{"rate":2000,"firstAttack":"0s","tenant":"t"}`)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	e.Wait(t, "traffic of every kind", func() bool {
		kinds := map[string]bool{}
		for _, l := range e.Stored() {
			kinds[l.DataType] = true
		}
		return len(kinds) == 3 && len(e.Stored()) > 500
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if l := e.Stored()[0]; l.TenantId != "t" || l.DataSource == "" || l.Raw == "" {
		t.Errorf("log: %v", l)
	}
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"rate":-1}`:           "rate: is -1",
		`{"every":"1s"}`:        "every: is 1s",
		`{"firstAttack":"-1s"}`: "firstAttack: is -1s",
		`{"seed":-1}`:           "plugins.d.seed: is a number -1, want a whole number",
	} {
		if _, err := New(plugins.Instance{Name: "d", Config: gjson.Parse(text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
