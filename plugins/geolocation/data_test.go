package geolocation

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter/mmdbtype"
)

func TestTables(t *testing.T) {
	d := loaded(t, map[string]string{
		"GeoLite2-City-CSV/blocks.csv": cityBlocks, "country.csv": countryBlocks, "zz/places.CSV": places, "asn.csv": ownerBlocks, "readme.txt": "no table",
	})
	townOne := `{"country":"Land A","countryCode":"AA","city":"Town, \"One\"","latitude":10.5,"longitude":-20.25,"accuracy":100,"asn":64500,"aso":"Example, Inc."}`
	for ip, want := range map[string]string{
		"192.0.2.1":            townOne,
		"::ffff:192.0.2.1":     townOne,
		"192.0.2.127":          townOne,
		"192.0.2.128":          `{"country":"Land C","countryCode":"CC","city":"Null Island","latitude":0,"longitude":0,"accuracy":5,"asn":64500,"aso":"Example, Inc."}`,
		"198.51.100.9":         `{"country":"Land B","countryCode":"BB"}`, // of its registration
		"203.0.113.9":          `{"country":"Land B","countryCode":"BB"}`, // of the table of countries
		"192.0.1.255":          `{}`,
		"192.0.3.0":            `{}`,
		"10.0.0.1":             `{}`,
		"0.0.0.0":              `{}`,
		"255.255.255.255":      `{}`,
		"2001:db8::1":          `{"country":"Land A","countryCode":"AA","city":"Town, \"One\"","latitude":1.5,"longitude":2.5,"accuracy":1000}`,
		"2001:db8:1::1%eth0":   `{"country":"Land A","countryCode":"AA","city":"Town, \"One\"","latitude":1.5,"longitude":2.5,"accuracy":1000,"asn":64501,"aso":"Six"}`,
		"2001:db7:ffff::":      `{}`,
		"2001:db9::":           `{}`,
		"ffff:ffff:ffff::ffff": `{}`,
		"::1":                  `{}`,
	} {
		if got := about(t, d, ip); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	dir := t.TempDir()
	put(t, dir, "b.csv", []byte(cityBlocks))
	put(t, dir, "p.csv", []byte(places))
	german, err := load(dir, "de", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if got := about(t, german, "192.0.2.1"); !strings.Contains(got, "Stadt Eins") {
		t.Errorf("in German: %s", got)
	}
	if got := about(t, german, "192.0.2.200"); !strings.Contains(got, "Null Island") {
		t.Errorf("what has no German name: %s", got)
	}
}

func TestDatabases(t *testing.T) {
	both := mmdb(t, "GeoLite2-City", 6, map[string]mmdbtype.Map{
		"::192.0.2.0/120": cityRecord("AA", "Land A", "Town", 10.5, -20.25, 100),
		"2001:db8::/32":   cityRecord("CC", "Land C", "Six", 0, 0, 0),
		"::203.0.113.0/120": {
			"registered_country": mmdbtype.Map{"iso_code": mmdbtype.String("RR"), "names": names("Registered")},
		},
	})
	country := mmdb(t, "GeoLite2-Country", 4, map[string]mmdbtype.Map{
		"192.0.2.0/24":    {"country": mmdbtype.Map{"iso_code": mmdbtype.String("XX"), "names": names("Only land")}},
		"198.51.100.0/24": {"country": mmdbtype.Map{"iso_code": mmdbtype.String("YY"), "names": names("Only land")}},
	})
	owners := mmdb(t, "GeoLite2-ASN", 4, map[string]mmdbtype.Map{"192.0.2.0/24": ownerRecord(64500, "Example")})
	// The table of owners answers where the database knows nothing.
	d := loaded(t, map[string]string{"1country.mmdb": string(country), "2city.mmdb": string(both), "asn.mmdb": string(owners), "asn.csv": ownerBlocks})
	for ip, want := range map[string]string{
		"192.0.2.1":        `{"country":"Land A","countryCode":"AA","city":"Town","latitude":10.5,"longitude":-20.25,"accuracy":100,"asn":64500,"aso":"Example"}`,
		"::ffff:192.0.2.1": `{"country":"Land A","countryCode":"AA","city":"Town","latitude":10.5,"longitude":-20.25,"accuracy":100,"asn":64500,"aso":"Example"}`,
		"198.51.100.1":     `{"country":"Only land","countryCode":"YY"}`,
		"203.0.113.1":      `{"country":"Registered","countryCode":"RR"}`,
		"2001:db8:1::1":    `{"country":"Land C","countryCode":"CC","city":"Six","latitude":0,"longitude":0,"asn":64501,"aso":"Six"}`,
		"10.1.2.3":         `{}`,
		"fe80::1":          `{}`,
	} {
		for range 2 { // and out of what was decoded before
			if got := about(t, d, ip); got != want {
				t.Errorf("%s: %s, want %s", ip, got, want)
			}
		}
	}
	german := t.TempDir()
	put(t, german, "c.mmdb", both)
	d, err := load(german, "de", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if got := about(t, d, "192.0.2.1"); !strings.Contains(got, `"city":"Town (de)"`) || !strings.Contains(got, "Land A") {
		t.Errorf("in German: %s", got)
	}
}

func TestBrokenFiles(t *testing.T) {
	good := string(mmdb(t, "GeoLite2-City", 4, map[string]mmdbtype.Map{"192.0.2.0/24": cityRecord("AA", "A", "B", 1, 2, 3)}))
	cut := strings.Replace(cityBlocks, "10.5", "95", 1)
	for _, c := range []struct{ name, text, want string }{
		{"a.mmdb", "nothing", "a.mmdb: "},
		{"a.mmdb", good[:len(good)/2], "a.mmdb: "},
		{"a.mmdb", string(mmdb(t, "X", 4, map[string]mmdbtype.Map{"192.0.2.0/24": {"country": mmdbtype.Map{"iso_code": mmdbtype.Uint32(5)}}})), "record of 192.0.2.0/24: [country iso_code]"},
		{"a.mmdb", string(mmdb(t, "X", 4, nil)), "no networks"},
		{"a.csv", "", "a.csv: header line"},
		{"a.csv", "a,b\n1,2\n", "a.csv: header line: want network"},
		{"a.csv", ownerBlocks + "192.0.2.0/33,1,x\n", "line 4: network"},
		{"a.csv", ownerBlocks + "192.0.2.0,1,x\n", "line 4: network"},
		{"a.csv", ownerBlocks + "192.0.2.0/24,many,x\n", "line 4: autonomous_system_number"},
		{"a.csv", ownerBlocks + "192.0.2.0/24\n", "line 4"},
		{"a.csv", ownerBlocks + `"never closed` + strings.Repeat("x", 200_000), "a.csv: "},
		{"a.csv", cut, "line 2: latitude"},
		{"a.csv", cityBlocks, "a Locations file is missing"},
		{"a.csv", "network,geoname_id,latitude,longitude\n", "no rows"},
	} {
		dir := t.TempDir()
		put(t, dir, c.name, []byte(c.text))
		put(t, dir, "good.csv", []byte(ownerBlocks))
		d, err := load(dir, "en", 1<<30)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.30q: %v, want %s", c.text, err, c.want)
		}
		if got := about(t, d, "192.0.2.1"); !strings.Contains(got, `"asn":64500`) {
			t.Errorf("%.30q: the good file is not used: %s", c.text, got)
		}
	}
	dir := t.TempDir()
	put(t, dir, "good.csv", []byte(ownerBlocks))
	d, err := load(dir, "en", 100)
	if err == nil || !strings.Contains(err.Error(), "maxBytes") || about(t, d, "192.0.2.1") != "{}" {
		t.Errorf("too many bytes: %v", err)
	}
}

// Networks one within the other and side by side, in any order: the table says
// what a search through all of them says.
func TestTableIsASearch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var b builder
		best := map[netip.Prefix]uint32{}
		for i := range random.IntN(40) {
			var ip netip.Addr
			bits := 0
			if random.IntN(2) == 0 {
				ip = netip.AddrFrom4([4]byte{byte(random.IntN(2) * 255), byte(random.IntN(3)), byte(random.IntN(256)), byte(random.IntN(256))})
				bits = random.IntN(33)
			} else {
				a := [16]byte{0: byte(random.IntN(2) * 255), 7: byte(random.IntN(4)), 8: byte(random.IntN(256)), 15: byte(random.IntN(256))}
				ip = netip.AddrFrom16(a)
				bits = random.IntN(129)
			}
			p := netip.PrefixFrom(ip, bits).Masked()
			b.add(p, uint32(i%7+1))
			best[p] = uint32(i%7 + 1)
		}
		table := b.build()
		check := func(ip netip.Addr) {
			want, bits := uint32(0), -1
			for p, record := range best {
				if p.Contains(ip) && p.Bits() > bits {
					want, bits = record, p.Bits()
				}
			}
			if got := table.find(ip); got != want {
				t.Fatalf("%s: %d, want %d, of %v", ip, got, want, best)
			}
		}
		for p := range best {
			check(p.Addr())
			if before := p.Addr().Prev(); before.IsValid() {
				check(before)
			}
			last := p.Addr()
			for next := last; p.Contains(next); { // the last address of it, by bits
				b := next.AsSlice()
				for i := p.Bits(); i < len(b)*8; i++ {
					b[i/8] |= 1 << (7 - i%8)
				}
				last, _ = netip.AddrFromSlice(b)
				break
			}
			check(last)
			if after := last.Next(); after.IsValid() {
				check(after)
			}
		}
		for range 50 {
			check(netip.AddrFrom4([4]byte{byte(random.IntN(256)), byte(random.IntN(3)), byte(random.IntN(256)), 0}))
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{cityBlocks, countryBlocks, places, ownerBlocks, "network,geoname_id\n::ffff:1.2.3.4/100,5\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := &data{tables: newTables("en")}
		err := d.tables.read(strings.NewReader(text))
		if err != nil && err.Error() == "" {
			t.Fatal("no reason")
		}
		_ = d.finish()
		for _, ip := range []string{"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
			about(t, d, ip)
		}
	})
}

// What is broken in a database is an error, at the latest when it is asked for.
func FuzzDatabase(f *testing.F) {
	f.Add(mmdb(f, "GeoLite2-City", 4, map[string]mmdbtype.Map{"192.0.2.0/24": cityRecord("AA", "A", "B", 1, 2, 3)}))
	f.Add(mmdb(f, "GeoLite2-ASN", 6, map[string]mmdbtype.Map{"2001:db8::/32": ownerRecord(1, "A")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := openDatabase(b, "en")
		if err != nil {
			return
		}
		for _, ip := range []string{"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1"} {
			p, n, _ := d.find(netip.MustParseAddr(ip))
			_ = appendJSON(nil, p, n)
		}
	})
}
