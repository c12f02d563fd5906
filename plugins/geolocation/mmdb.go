package geolocation

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/oschwald/maxminddb-golang/v2"
)

// database is one MaxMind database, read into memory: a file that is mapped and
// then cut short by somebody ends the process. Safe for concurrent use.
type database struct {
	reader *maxminddb.Reader
	locale string
	four   bool // it holds no IPv6

	mu    sync.RWMutex
	known map[uintptr]entry // by where the record lies
}

// entry is what one record says.
type entry struct {
	place   place
	network network
	err     error
}

// maxKnown bounds the records of a database that are kept decoded.
const maxKnown = 1 << 16

// openDatabase takes a database's bytes. All of it is walked through once, so
// that what is broken is told here and not by some address later.
func openDatabase(b []byte, locale string) (*database, error) {
	r, err := maxminddb.OpenBytes(b)
	if err != nil {
		return nil, err
	}
	d := &database{reader: r, locale: locale, four: r.Metadata.IPVersion == 4, known: map[uintptr]entry{}}
	seen := map[uintptr]struct{}{}
	// Verify of the library wants more than answers need, such as a description.
	for found := range r.Networks() {
		if err := found.Err(); err != nil {
			return nil, err
		}
		at := found.Offset()
		if _, ok := seen[at]; ok {
			continue
		}
		seen[at] = struct{}{}
		if e := d.decode(found); e.err != nil {
			return nil, fmt.Errorf("record of %s: %w", found.Prefix(), e.err)
		}
	}
	if len(seen) == 0 {
		return nil, errors.New("it holds no networks")
	}
	return d, nil
}

func (d *database) find(ip netip.Addr) (place, network, error) {
	if d.four && !ip.Is4() {
		return place{}, network{}, nil
	}
	found := d.reader.Lookup(ip)
	if err := found.Err(); err != nil {
		return place{}, network{}, err
	}
	if !found.Found() {
		return place{}, network{}, nil
	}
	at := found.Offset()
	d.mu.RLock()
	e, ok := d.known[at]
	d.mu.RUnlock()
	if !ok {
		e = d.decode(found)
		d.mu.Lock()
		if len(d.known) >= maxKnown {
			clear(d.known)
		}
		d.known[at] = e
		d.mu.Unlock()
	}
	return e.place, e.network, e.err
}

// decode reads what we want of a record, whichever kind of database it is of.
func (d *database) decode(found maxminddb.Result) entry {
	var e entry
	read := func(v any, path ...any) {
		if err := found.DecodePath(v, path...); err != nil && e.err == nil {
			e.err = fmt.Errorf("%v: %w", path, err)
		}
	}
	// Where the place is not known, the country it is registered in may be.
	for _, kind := range []string{"country", "registered_country", "represented_country"} {
		read(&e.place.code, kind, "iso_code")
		read(&e.place.country, kind, "names", d.locale)
		if e.place.country == "" {
			read(&e.place.country, kind, "names", "en")
		}
		if e.place.code != "" || e.place.country != "" {
			break
		}
	}
	read(&e.place.city, "city", "names", d.locale)
	if e.place.city == "" {
		read(&e.place.city, "city", "names", "en")
	}
	var latitude, longitude *float64
	read(&latitude, "location", "latitude")
	read(&longitude, "location", "longitude")
	if latitude != nil && longitude != nil {
		e.place.latitude, e.place.longitude, e.place.located = *latitude, *longitude, true
	}
	read(&e.place.accuracy, "location", "accuracy_radius")
	read(&e.network.number, "autonomous_system_number")
	read(&e.network.org, "autonomous_system_organization")
	return e
}
