package geolocation

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"google.golang.org/protobuf/types/known/structpb"
)

// generate writes tables of the size and shape of GeoLite2's City and ASN: this
// many networks of IPv4, a third as many of IPv6, 130,000 places, 80,000 owners.
func generate(t testing.TB, dir string, networks int) (bytes int64) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	write := func(name, header string, rows func(*bufio.Writer)) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w := bufio.NewWriterSize(f, 1<<20)
		w.WriteString(header + "\n")
		rows(w)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
		f.Close()
	}
	const places, owners = 130_000, 80_000
	place := func(w *bufio.Writer) {
		id := random.IntN(places) + 1
		// As there: coordinates are of the place, or near it.
		fmt.Fprintf(w, "%d,%d,,0,0,%05d,%.4f,%.4f,%d", id, id%250+1, id, float64(id%1800)/10-90+float64(random.IntN(4))/1e4, float64(id%3600)/10-180, []int{1, 5, 20, 100, 1000}[random.IntN(5)])
	}
	four := func(row func(int, netip.Prefix)) {
		step := uint32((1<<32 - 1<<24) / networks)
		for i := range networks {
			n := 1<<24 + uint32(i)*step
			row(i, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), 24))
		}
	}
	six := func(n int, row func(int, netip.Prefix)) {
		for i := range n {
			row(i, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 16), byte(i >> 8), byte(i)}), 48))
		}
	}
	const blocks = "network,geoname_id,registered_country_geoname_id,represented_country_geoname_id,is_anonymous_proxy,is_satellite_provider,postal_code,latitude,longitude,accuracy_radius"
	row := func(w *bufio.Writer) func(int, netip.Prefix) {
		return func(_ int, p netip.Prefix) {
			w.WriteString(p.Masked().String() + ",")
			place(w)
			w.WriteByte('\n')
		}
	}
	write("City-Blocks-IPv4.csv", blocks, func(w *bufio.Writer) { four(row(w)) })
	write("City-Blocks-IPv6.csv", blocks, func(w *bufio.Writer) { six(networks/3, row(w)) })
	write("City-Locations-en.csv", "geoname_id,locale_code,country_iso_code,country_name,city_name", func(w *bufio.Writer) {
		for i := range places {
			fmt.Fprintf(w, "%d,en,%c%c,Country %d,City number %d\n", i+1, 'A'+i%26, 'A'+i/26%10, i%250, i)
		}
	})
	owner := func(w *bufio.Writer) func(int, netip.Prefix) {
		return func(i int, p netip.Prefix) {
			n := (i/7)%owners + 1
			fmt.Fprintf(w, "%s,%d,\"Network operator %d, Inc.\"\n", p.Masked(), n, n)
		}
	}
	write("ASN-Blocks-IPv4.csv", "network,autonomous_system_number,autonomous_system_organization", func(w *bufio.Writer) {
		four(func(i int, p netip.Prefix) {
			if i%7 == 0 {
				owner(w)(i, p)
			}
		})
	})
	return bytes
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLoad loads tables of GeoLite2 City's size, 3.5 million networks of
// IPv4; EPMESH_NETWORKS says another number. It reports what stays in memory, and
// the most there was while loading.
func BenchmarkLoad(b *testing.B) {
	networks := 3_500_000
	if v := os.Getenv("EPMESH_NETWORKS"); v != "" {
		if _, err := fmt.Sscan(v, &networks); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	bytes := generate(b, dir, networks)
	before := heap()
	var d *data
	var most uint64
	for b.Loop() {
		d = nil
		done := make(chan struct{})
		peak := make(chan uint64)
		go func() {
			var top uint64
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				top = max(top, m.HeapAlloc)
				select {
				case <-tick.C:
				case <-done:
					peak <- top
					return
				}
			}
		}()
		var err error
		if d, err = load(dir, "en", 4<<30); err != nil {
			b.Fatal(err)
		}
		close(done)
		most = max(most, <-peak)
	}
	kept := heap() - before
	b.ReportMetric(float64(bytes)/1e6, "MB-files")
	b.ReportMetric(float64(kept)/1e6, "MB-kept")
	b.ReportMetric(float64(d.bytes)/1e6, "MB-said")
	b.ReportMetric(float64(most-before)/1e6, "MB-peak")
	b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N), "s/load")

	began := time.Now()
	plain(b, dir)
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/time.Since(began).Seconds(), "x-of-csv-alone")

	random := rand.New(rand.NewPCG(3, 4))
	ips := make([]netip.Addr, 1<<16)
	for i := range ips {
		n := random.Uint32()
		ips[i] = netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	n := 1_000_000
	began = time.Now()
	for i := range n {
		if _, _, err := d.find(ips[i&(1<<16-1)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(n), "ns/lookup")
}

// plain reads the tables with encoding/csv and does nothing with them.
func plain(b *testing.B, dir string) {
	names, err := filepath.Glob(dir + "/*.csv")
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		r := csv.NewReader(bufio.NewReaderSize(f, 1<<16))
		r.ReuseRecord = true
		for err == nil {
			_, err = r.Read()
		}
		f.Close()
	}
}

// BenchmarkParse answers dynamic steps without the socket, against the same calls
// that find no address: the difference is the search and the writing.
func BenchmarkParse(b *testing.B) {
	dir := b.TempDir()
	generate(b, dir, 300_000)
	d, err := load(dir, "en", 1<<30)
	if err != nil {
		b.Fatal(err)
	}
	l := &locator{}
	l.data.Store(d)
	params := map[string]*structpb.Value{"source": structpb.NewStringValue("origin.ip"), "destination": structpb.NewStringValue("origin.geolocation")}
	step := &plugins.Step{Dynamic: &plugins.Dynamic{Params: params}}
	random := rand.New(rand.NewPCG(3, 4))
	for _, kind := range []string{"address", "none"} {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ip := "host"
				if kind == "address" {
					ip = fmt.Sprintf("%d.%d.%d.7", 1+random.IntN(222), random.IntN(256), random.IntN(256))
				}
				log := `{"id":"x","raw":"` + ip + ` did something","origin":{"ip":"` + ip + `","port":1},"log":{"a":"b"}}`
				if _, err := l.parse(context.Background(), &plugins.Transform{Draft: &plugins.Draft{Log: log}, Step: step}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "drafts/s")
		})
	}
}
