package geolocation

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// data is one set of files, loaded. It does not change. Safe for concurrent use.
type data struct {
	databases []*database // those that know cities first
	tables    *tables
	cities    *table
	countries *table
	owners    *table
	files     int
	bytes     int // about what is kept in memory
}

// load reads all files below a folder. The errors name the files; with one, what
// could be read is returned too. More than most bytes of files are not read.
func load(folder, locale string, most int64) (*data, error) {
	d := &data{tables: newTables(locale)}
	set, err := find(folder)
	if set.bytes > most {
		_ = d.finish() // of nothing
		return d, fmt.Errorf("the files in %s have %d bytes, more than %d (maxBytes)", folder, set.bytes, most)
	}
	errs := []error{err}
	csvs := 0
	for _, name := range set.names {
		var err error
		if strings.EqualFold(filepath.Ext(name), ".mmdb") {
			err = d.addDatabase(name, locale)
		} else if err = d.addTable(name); err == nil {
			csvs++
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		d.files++
	}
	if err := d.finish(); err != nil && csvs > 0 {
		errs = append(errs, fmt.Errorf("%s: %w", folder, err))
	}
	return d, errors.Join(errs...)
}

func (d *data) addDatabase(name, locale string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	db, err := openDatabase(b, locale)
	if err != nil {
		return err
	}
	d.databases = append(d.databases, db)
	d.bytes += len(b)
	return nil
}

func (d *data) addTable(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.tables.read(f)
}

// finish makes what is looked things up in, and lets go of what only loading
// needed. Networks whose places no table names are a mistake.
func (d *data) finish() error {
	t := d.tables
	// A database with cities knows more about a place than one without.
	slices.SortStableFunc(d.databases, func(a, b *database) int {
		return rank(a.reader.Metadata.DatabaseType) - rank(b.reader.Metadata.DatabaseType)
	})
	missing := 0
	for i := range t.spots {
		s := &t.spots[i]
		if s.geoname == 0 {
			continue
		}
		n, ok := t.nameIndex[s.geoname]
		if !ok {
			missing++
		}
		s.geoname = n // from here on the index of its names
	}
	d.cities, d.countries, d.owners = t.cities.build(), t.countries.build(), t.owners.build()
	t.spots, t.networks, t.names = slices.Clip(t.spots), slices.Clip(t.networks), slices.Clip(t.names)
	for text := range t.texts {
		d.bytes += len(text) + 16
	}
	d.bytes += d.cities.bytes() + d.countries.bytes() + d.owners.bytes() + 32*len(t.spots) + 48*len(t.names) + 24*len(t.networks)
	t.spotIndex, t.nameIndex, t.inLocale, t.ownerIndex, t.texts = nil, nil, nil, nil, nil
	t.cities, t.countries, t.owners = builder{}, builder{}, builder{}
	if missing > 0 {
		return fmt.Errorf("%d kinds of networks have a geoname_id that no table of places names: a Locations file is missing or of another release", missing)
	}
	return nil
}

// rank orders the kinds of databases by how much they say about a place.
func rank(kind string) int {
	switch {
	case strings.Contains(kind, "City"), strings.Contains(kind, "Enterprise"):
		return 0
	case strings.Contains(kind, "Country"):
		return 2
	}
	return 1
}

// find says where an address is and whose. The place is what one source says as
// a whole: databases before tables, those with cities before those without.
func (d *data) find(ip netip.Addr) (place, network, error) {
	ip = ip.Unmap().WithZone("")
	var p place
	var n network
	var errs []error
	for _, db := range d.databases {
		at, of, err := db.find(ip)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if better(at, p) {
			p = at
		}
		if n.empty() {
			n = of
		}
	}
	t := d.tables
	for _, places := range []*table{d.cities, d.countries} {
		if i := places.find(ip); i != 0 {
			if at := t.at(i); better(at, p) {
				p = at
			}
		}
	}
	if n.empty() {
		n = t.networks[d.owners.find(ip)]
	}
	return p, n, errors.Join(errs...)
}

// better says whether a place from a later source is taken instead of one from
// an earlier: only one that is somewhere instead of nowhere, or has a city or
// coordinates where the other has a country alone.
func better(later, earlier place) bool {
	if later.empty() {
		return false
	}
	precise := func(p place) bool { return p.city != "" || p.located }
	return earlier.empty() || precise(later) && !precise(earlier)
}

// at is the place of a record.
func (t *tables) at(i uint32) place {
	s := t.spots[i]
	n := t.names[s.geoname]
	return place{
		country: n.country, code: n.code, city: n.city,
		latitude: s.latitude, longitude: s.longitude, located: s.located, accuracy: s.accuracy,
	}
}
