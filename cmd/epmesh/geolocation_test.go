package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/integration/shared"
	"github.com/tidwall/gjson"
)

// Filters that people run find the bundled plugin under the name they call it by.
func TestFiltersFindGeolocation(t *testing.T) {
	for _, c := range []struct{ filter, dataType, raw string }{
		{
			"fortinet/fortinet.yml", "firewall-fortigate-traffic",
			`<189>date=2026-11-26 time=14:00:00 devname="fw" type="traffic" srcip=192.0.2.1 srcport=1 dstip=10.0.0.1 dstport=2 action="accept"`,
		},
	} {
		t.Run(c.dataType, func(t *testing.T) {
			filter := shared.Dir(t, "configs", "filters", c.filter)
			// The patterns that filters refer to come with the recordings.
			patterns := shared.Dir(t, "conformance", "cisco-asa", "patterns.yaml")
			dir := parseDir(t, map[string][]byte{
				"filter.yaml": read(t, filter), "patterns.yaml": read(t, patterns),
				"geo.yaml": []byte("plugins:\n  com.utmstack.geolocation: {bundled: geolocation, require: true}\n"),
			})
			folder := filepath.Join(dir, "geolocation")
			if err := os.Mkdir(folder, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "asn.csv"), []byte("network,autonomous_system_number,autonomous_system_organization\n192.0.2.0/24,64500,Example\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			stderr, err := parseProgram(t, strings.NewReader(c.raw+"\n"), &out, "--work-dir", dir, "--plugins", "--log-level", "error", "--raw", "--data-type", c.dataType)
			if err != nil {
				t.Fatal(err, stderr)
			}
			event := out.String()
			got := gjson.Get(event, "origin.geolocation.aso").String() + gjson.Get(event, "target.geolocation").Raw
			if got != "Example{}" {
				t.Errorf("geolocations %s of %s\n%s", got, event, stderr)
			}
		})
	}
}
