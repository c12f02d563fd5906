package geolocation

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/hashicorp/go-hclog"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/tidwall/gjson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Under any name, with what a step says.
func TestParse(t *testing.T) {
	dir := shortdir.New(t)
	put(t, filepath.Join(dir, "geolocation"), "asn.csv", []byte(ownerBlocks))
	w := run(t, dir, "com.example.geo", `{"bundled":"geolocation"}`)
	for _, c := range []struct{ log, source, destination, want string }{
		{`{"origin":{"ip":"192.0.2.1"}}`, "origin.ip", "origin.geolocation", `{"origin":{"ip":"192.0.2.1","geolocation":{"asn":64500,"aso":"Example, Inc."}}}`},
		{`{"origin":{"ip":"10.0.0.1"}}`, "origin.ip", "target.geolocation", `{"origin":{"ip":"10.0.0.1"},"target":{"geolocation":{}}}`},
		{`{"origin":{"ip":"10.0.0.1","geolocation":{"city":"old"}}}`, "origin.ip", "origin.geolocation", `{"origin":{"ip":"10.0.0.1","geolocation":{}}}`},
		{`{"a":"192.0.2.1","b":"text"}`, "a", "b.geo", `{"a":"192.0.2.1","b":{"geo":{"asn":64500,"aso":"Example, Inc."}}}`},
		{`{"a":1}`, "origin.ip", "origin.geolocation", `{"a":1}`},
		{`{"a":"host.example.com"}`, "a", "b", `{"a":"host.example.com"}`},
		{`{"a":""}`, "a", "b", `{"a":""}`},
		{`{"a":null}`, "a", "b", `{"a":null}`},
		{`{"a":["192.0.2.1"]}`, "a", "b", `{"a":["192.0.2.1"]}`},
		{`{"a":3221225985}`, "a", "b", `{"a":3221225985}`},
	} {
		got, err := w.parse(t, c.log, c.source, c.destination)
		if err != nil || got != c.want {
			t.Errorf("%s %s: %s, %v, want %s", c.log, c.source, got, err, c.want)
		}
	}
	for _, c := range [][2]string{{"", "b"}, {"a", ""}, {"a", "raw"}, {"a", "@timestamp"}} {
		if _, err := w.parse(t, `{"a":"192.0.2.1"}`, c[0], c[1]); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v", c, err)
		}
	}
}

// Changed files are taken without an answer that is of neither set; broken ones
// are not.
func TestReload(t *testing.T) {
	dir := shortdir.New(t)
	folder := filepath.Join(dir, "geolocation")
	set := func(city string) []byte {
		return mmdb(t, "GeoLite2-City", 4, map[string]mmdbtype.Map{"192.0.2.0/24": cityRecord("AA", "A", city, 1, 2, 3)})
	}
	w := run(t, dir, "geo", `{"reload":"20ms"}`)
	city := func() string {
		got, err := w.parse(t, `{"a":"192.0.2.1"}`, "a", "b")
		if err != nil {
			t.Error(err)
		}
		return gjson.Get(got, "b.city").String()
	}
	if got := city(); got != "" || !w.out.Has("no files") {
		t.Errorf("without files: %q", got)
	}
	put(t, folder, "city.mmdb", set("one"))
	until(t, "the first set", func() bool { return city() == "one" })

	var stop atomic.Bool
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for !stop.Load() {
				if got := city(); got != "one" && got != "two" {
					t.Errorf("answered %q in between", got)
					return
				}
			}
		})
	}
	put(t, folder, "city.mmdb", set("two"))
	until(t, "the second set", func() bool { return city() == "two" })
	put(t, folder, "city.mmdb", []byte("broken"))
	until(t, "word of the broken file", func() bool { return w.out.Has("changed files are not taken") && w.out.Has("city.mmdb") })
	stop.Store(true)
	asking.Wait()
	if got := city(); got != "two" {
		t.Errorf("with a broken file: %q", got)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	until(t, "word of the folder", func() bool { return w.out.Has("the files are gone") })
	if got := city(); got != "two" {
		t.Errorf("without the folder: %q", got)
	}
	put(t, folder, "city.mmdb", set("three"))
	until(t, "the third set", func() bool { return city() == "three" })
}

func TestStart(t *testing.T) {
	dir := shortdir.New(t)
	put(t, filepath.Join(dir, "real"), "asn.csv", []byte(ownerBlocks))
	put(t, filepath.Join(dir, "real"), "bad.csv", []byte("x"))
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "geolocation")); err != nil {
		t.Fatal(err)
	}
	w := run(t, dir, "geo", `{}`)
	if got, err := w.parse(t, `{"a":"192.0.2.1"}`, "a", "b"); err != nil || gjson.Get(got, "b.asn").Int() != 64500 || !w.out.Has("not all files can be read") {
		t.Errorf("with a broken file beside it: %s, %v", got, err)
	}
	for settings, want := range map[string]string{
		`{"require":true}`:                      "bad.csv",
		`{"require":true,"folder":"elsewhere"}`: "no .mmdb or .csv",
	} {
		r, err := New(plugins.Instance{Name: "other", Dir: dir, Logger: hclog.NewNullLogger(), Config: gjson.Parse(settings)})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"folder":""}`:    "folder",
		`{"locale":"../"}`: "locale: is",
		`{"reload":"1ms"}`: "reload: is 1ms",
		`{"reload":5}`:     "no duration",
		`{"maxBytes":1}`:   "maxBytes: is 1",
		`{"path":"x"}`:     `unknown setting "path"`,
	} {
		_, err := New(plugins.Instance{Name: "geo", Config: gjson.Parse(text)})
		if err == nil || !strings.Contains(err.Error(), "plugins.geo") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// The reference engine does not write the radius; who wants it says so.
func TestAccuracy(t *testing.T) {
	dir := shortdir.New(t)
	put(t, filepath.Join(dir, "geolocation"), "city.csv", []byte(cityBlocks))
	put(t, filepath.Join(dir, "geolocation"), "places.csv", []byte(places))
	for name, settings := range map[string]string{"without": `{}`, "with": `{"accuracy":true}`} {
		got, err := run(t, dir, name, settings).parse(t, `{"a":"192.0.2.1"}`, "a", "b")
		if radius := gjson.Get(got, "b.accuracy"); err != nil || radius.Exists() != (name == "with") || gjson.Get(got, "b.country").String() != "Land A" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
