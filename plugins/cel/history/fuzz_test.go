package history

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// written gives the files of a small store.
func written(t testing.TB) (events, index, journal []byte) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "h")
	o := testOptions()
	o.events = 20
	d, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	d.secret = secret{} // that of the fuzz targets
	if err := d.Watch(Paths{Terms: []string{"origin.ip"}, Words: []string{"raw"}}); err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		e := numbered(n)
		e.DataType = string(rune('a' + n%3))
		if _, err := d.Add(t.Context(), e, time.Now().Add(time.Duration(n)*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	settle(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for suffix, into := range map[string]*[]byte{eventsSuffix: &events, indexSuffix: &index, journalSuffix: &journal} {
		files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v, %v", suffix, files, err)
		}
		if *into, err = os.ReadFile(files[0]); err != nil {
			t.Fatal(err)
		}
	}
	return events, index, journal
}

// The targets put the checksums right, as a forger would, so that what is behind
// them is reached. Nothing may panic or read outside.

func FuzzEvents(f *testing.F) {
	events, _, _ := written(f)
	f.Add(events, true)
	f.Add(events, false)
	f.Add(events[:len(events)-1], false)
	f.Fuzz(func(t *testing.T, data []byte, mend bool) {
		if mend && len(data) > footerSize {
			footer := data[len(data)-footerSize:]
			if length := int(binary.LittleEndian.Uint32(footer)); length <= len(data)-footerSize {
				binary.LittleEndian.PutUint32(footer[4:], checksum(data[len(data)-footerSize-length:len(data)-footerSize]))
			}
		}
		e, err := parseEvents(data)
		if err != nil {
			return
		}
		e.data = data
		var buffer []byte
		for i := range e.blockCount() {
			if from, to := e.block(i); mend {
				binary.LittleEndian.PutUint32(data[from:], checksum(data[from+4:to]))
			}
			var list [][]byte
			if list, buffer, err = e.bodies(i, buffer); err == nil && len(list) != e.last(i)-e.first(i) {
				t.Fatalf("block %d has %d events, not %d", i, len(list), e.last(i)-e.first(i))
			}
		}
		s := &sealed{events: e}
		for n := range e.size {
			e.time(n)
			_, _ = s.event(n, new(reader))
		}
		if order, err := e.order(); err == nil && len(order) != e.size {
			t.Fatal("an order of other events")
		}
		d := &Disk{}
		_, _ = d.indexOf(e, Paths{Terms: []string{"origin.ip"}})
	})
}

func FuzzIndex(f *testing.F) {
	_, index, _ := written(f)
	var none secret
	f.Add(index, uint64(1), true)
	f.Add(index, none.key(ofTerm, "origin.ip", "1", new([]byte)), false)
	f.Fuzz(func(t *testing.T, data []byte, key uint64, mend bool) {
		if mend && len(data) > 4 {
			binary.LittleEndian.PutUint32(data[len(data)-4:], checksum(data[:len(data)-4]))
		}
		x, err := parseIndex(data, 0, none.proof(), 20)
		if err != nil {
			return
		}
		filterHas(x.filter, key)
		for i := -1; i < len(x.keys)/8; i++ {
			if i >= 0 {
				key = binary.LittleEndian.Uint64(x.keys[8*i:])
			}
			p, err := x.find(key)
			if err != nil || p.n == 0 {
				continue
			}
			var sets [2]bitset
			c := clause{}
			c.add(p)
			for _, clauses := range [][]clause{{c}, {c, c}, {{not: true, any: c.any, total: c.total}}} {
				for n := range backward(clauses, 20, 20, &sets) {
					if n >= 20 && !clauses[0].not {
						t.Fatalf("event %d of 20", n)
					}
				}
			}
		}
	})
}

func FuzzJournal(f *testing.F) {
	_, _, journal := written(f)
	f.Add(journal)
	f.Add(journal[:len(journal)-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		begun := false
		bytes := 0
		good, err := parseJournal(data, func(uint64, Paths) { begun = true }, func(_, _ int64, body []byte) error {
			bytes += len(body) + recordHeader
			return nil
		})
		if good > int64(len(data)) || err == nil && good != int64(len(data)) || bytes > len(data) || good > 0 && !begun {
			t.Fatalf("%d of %d bytes are good: %v", good, len(data), err)
		}
	})
}
