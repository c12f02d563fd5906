package geolocation

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/tidwall/gjson"
	"go4.org/netipx"
	"google.golang.org/protobuf/types/known/structpb"
)

// The tables of most tests; the addresses are those of documentation.
const (
	cityBlocks = "network,geoname_id,registered_country_geoname_id,represented_country_geoname_id,is_anonymous_proxy,is_satellite_provider,postal_code,latitude,longitude,accuracy_radius\n" +
		"192.0.2.0/24,1,2,,0,0,,10.5,-20.25,100\n" +
		"192.0.2.128/25,3,2,,0,0,,0,0,5\n" +
		"198.51.100.0/24,,2,,0,0,,,,\n" +
		"2001:db8::/32,1,2,,0,0,,1.5,2.5,1000\n"
	countryBlocks = "network,geoname_id,registered_country_geoname_id,represented_country_geoname_id,is_anonymous_proxy,is_satellite_provider\n" +
		"192.0.2.0/24,2,2,,0,0\n203.0.113.0/24,2,2,,0,0\n"
	places = "geoname_id,locale_code,continent_code,continent_name,country_iso_code,country_name,subdivision_1_iso_code,subdivision_1_name,subdivision_2_iso_code,subdivision_2_name,city_name,metro_code,time_zone,is_in_european_union\n" +
		"1,en,EU,Europe,AA,Land A,,,,,\"Town, \"\"One\"\"\",,,0\n1,de,EU,Europa,AA,Land A (de),,,,,Stadt Eins,,,0\n" +
		"2,en,EU,Europe,BB,Land B,,,,,,,,0\n3,en,EU,Europe,CC,Land C,,,,,Null Island,,,0\n"
	ownerBlocks = "network,autonomous_system_number,autonomous_system_organization\n192.0.2.0/24,64500,\"Example, Inc.\"\n2001:db8:1::/48,64501,Six\n"
)

func put(t testing.TB, dir, name string, text []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// mmdb makes a database of records by network.
func mmdb(t testing.TB, kind string, version int, records map[string]mmdbtype.Map) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IPVersion: version, IncludeReservedNetworks: true, DisableIPv4Aliasing: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, record := range records {
		p := netip.MustParsePrefix(network)
		if err := w.Insert(netipx.PrefixIPNet(p), record); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names(en string) mmdbtype.Map { return mmdbtype.Map{"en": mmdbtype.String(en)} }

func cityRecord(code, country, city string, latitude, longitude float64, radius uint16) mmdbtype.Map {
	return mmdbtype.Map{
		"country":  mmdbtype.Map{"iso_code": mmdbtype.String(code), "names": names(country)},
		"city":     mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(city), "de": mmdbtype.String(city + " (de)")}},
		"location": mmdbtype.Map{"latitude": mmdbtype.Float64(latitude), "longitude": mmdbtype.Float64(longitude), "accuracy_radius": mmdbtype.Uint16(radius)},
	}
}

func ownerRecord(number uint32, org string) mmdbtype.Map {
	return mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(number), "autonomous_system_organization": mmdbtype.String(org)}
}

// loaded is a set of files, loaded without a mistake.
func loaded(t testing.TB, files map[string]string) *data {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		put(t, dir, name, []byte(text))
	}
	d, err := load(dir, "en", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// about is what is known of an address, as JSON.
func about(t testing.TB, d *data, ip string) string {
	t.Helper()
	p, n, err := d.find(netip.MustParseAddr(ip))
	if err != nil {
		t.Fatal(err)
	}
	return string(appendJSON(nil, p, n))
}

// running is the plugin behind its socket.
type running struct {
	out    *logbuffer.Buffer
	client pb.ParsingClient
	stop   func() error
}

func run(t testing.TB, dir, name, settings string) *running {
	t.Helper()
	w := &running{out: new(logbuffer.Buffer)}
	r, err := New(plugins.Instance{Name: name, Dir: dir, Logger: plugins.NewLogger(name, w.out), Config: gjson.Parse(settings)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "sockets"), 0o750); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	w.client = pb.NewParsingClient(enginetest.Dial(t, dir, name+"_parsing.sock"))
	return w
}

// parse calls the plugin with a draft.
func (w *running) parse(t testing.TB, log, source, destination string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	params := map[string]*structpb.Value{"source": structpb.NewStringValue(source), "destination": structpb.NewStringValue(destination)}
	draft, err := w.client.ParseLog(ctx, &pb.Transform{
		Draft: &pb.Draft{Log: log, Step: 3, Pipeline: 1, Errors: []string{"before"}},
		Step:  &pb.Step{Dynamic: &pb.Dynamic{Plugin: "geo", Params: params}},
	})
	if err == nil && (draft.Step != 3 || draft.Pipeline != 1 || len(draft.Errors) != 1) {
		t.Errorf("the draft lost something: %v", draft)
	}
	return draft.GetLog(), err
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited in vain: " + what)
		}
	}
}
