package geolocation

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// A table of one of three kinds, told apart by its header line; the names of the
// files do not matter. The rows of all tables of a kind are taken together.
//
//	networks of places   network, geoname_id, latitude, ...
//	places               geoname_id, locale_code, country_iso_code, ...
//	networks of owners   network, autonomous_system_number, ...
type tables struct {
	locale string

	cities    builder // networks of places with coordinates
	countries builder // and without: what is known where no city is
	spots     []spot  // by record; the first says nothing
	spotIndex map[spot]uint32

	names     []placeNames // of places; the first says nothing
	nameIndex map[uint32]uint32
	inLocale  map[uint32]bool // places whose names are in the wanted language

	owners     builder
	networks   []network
	ownerIndex map[network]uint32

	texts map[string]string
}

// spot is a row of the networks of places, without its network.
type spot struct {
	geoname             uint32
	accuracy            uint32
	latitude, longitude float64
	located             bool
}

type placeNames struct{ country, code, city string }

func newTables(locale string) *tables {
	return &tables{
		locale: locale,
		spots:  make([]spot, 1), spotIndex: map[spot]uint32{},
		names: make([]placeNames, 1), nameIndex: map[uint32]uint32{}, inLocale: map[uint32]bool{},
		networks: make([]network, 1), ownerIndex: map[network]uint32{},
		texts: map[string]string{},
	}
}

// intern keeps one copy of each text.
func (t *tables) intern(s string) string {
	if kept, ok := t.texts[s]; ok {
		return kept
	}
	s = strings.Clone(s)
	t.texts[s] = s
	return s
}

// maxRow bounds one row, in bytes.
const maxRow = 64 << 10

// read takes one table. The error names the line.
func (t *tables) read(in io.Reader) error {
	rows := csv.NewReader(&rowLimit{r: bufio.NewReaderSize(in, 1<<16)})
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return fmt.Errorf("header line: %w", err)
	}
	column := map[string]int{}
	for i, name := range header {
		column[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\uFEFF")))] = i
	}
	var row []string
	get := func(name string) string {
		if i, ok := column[name]; ok {
			return row[i]
		}
		return ""
	}
	has := func(name string) bool { _, ok := column[name]; return ok }
	var take func(func(string) string) error
	switch {
	case has("network") && has("autonomous_system_number"):
		take = t.owner
	case has("network") && has("geoname_id"):
		to := &t.countries
		if has("latitude") {
			to = &t.cities
		}
		take = func(get func(string) string) error { return t.block(to, get) }
	case has("geoname_id") && has("country_iso_code"):
		take = t.place
	default:
		return errors.New("header line: want network and geoname_id, geoname_id and country_iso_code, or network and autonomous_system_number, as GeoLite2 has them")
	}
	n := 0
	for {
		if row, err = rows.Read(); errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err // which has the line
		}
		if err := take(get); err != nil {
			line, _ := rows.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
		n++
	}
	if n == 0 {
		return errors.New("no rows")
	}
	return nil
}

// rowLimit ends a read in which no line ends for too long: a quote that is never
// closed would make one row of the file.
type rowLimit struct {
	r *bufio.Reader
	n int
}

func (l *rowLimit) Read(b []byte) (int, error) {
	n, err := l.r.Read(b[:min(len(b), 4096)])
	for i := n - 1; i >= 0; i-- {
		if b[i] == '\n' {
			l.n = n - i
			return n, err
		}
	}
	if l.n += n; l.n > maxRow {
		return 0, fmt.Errorf("a line of more than %d bytes", maxRow)
	}
	return n, err
}

func prefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("network %.60q: want one such as 192.0.2.0/24", text)
	}
	return p.Masked(), nil
}

func number(name, text string, bits int) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s %.40q: want a number", name, text)
	}
	return uint32(n), nil
}

func (t *tables) block(to *builder, get func(string) string) error {
	p, err := prefix(get("network"))
	if err != nil {
		return err
	}
	var s spot
	// Where the place is not known, the country it is registered in may be.
	for _, name := range []string{"geoname_id", "registered_country_geoname_id", "represented_country_geoname_id"} {
		if s.geoname == 0 {
			if s.geoname, err = number(name, get(name), 32); err != nil {
				return err
			}
		}
	}
	if s.accuracy, err = number("accuracy_radius", get("accuracy_radius"), 32); err != nil {
		return err
	}
	if latitude, longitude := get("latitude"), get("longitude"); latitude != "" && longitude != "" {
		var err1, err2 error
		s.latitude, err1 = strconv.ParseFloat(latitude, 64)
		s.longitude, err2 = strconv.ParseFloat(longitude, 64)
		if err1 != nil || err2 != nil || !(math.Abs(s.latitude) <= 90) || !(math.Abs(s.longitude) <= 180) {
			return fmt.Errorf("latitude %.40q and longitude %.40q: want degrees", latitude, longitude)
		}
		s.located = true
	}
	i, ok := t.spotIndex[s]
	if !ok {
		i = uint32(len(t.spots))
		t.spots = append(t.spots, s)
		t.spotIndex[s] = i
	}
	to.add(p, i)
	return nil
}

func (t *tables) place(get func(string) string) error {
	id, err := number("geoname_id", get("geoname_id"), 32)
	if err != nil {
		return err
	}
	wanted := get("locale_code") == t.locale
	i, seen := t.nameIndex[id]
	if seen && (!wanted && t.inLocale[id]) {
		return nil
	}
	if !seen {
		i = uint32(len(t.names))
		t.names = append(t.names, placeNames{})
		t.nameIndex[id] = i
	}
	if wanted {
		t.inLocale[id] = true
	}
	t.names[i] = placeNames{
		country: t.intern(get("country_name")), code: t.intern(get("country_iso_code")), city: t.intern(get("city_name")),
	}
	return nil
}

func (t *tables) owner(get func(string) string) error {
	p, err := prefix(get("network"))
	if err != nil {
		return err
	}
	n, err := number("autonomous_system_number", get("autonomous_system_number"), 32)
	if err != nil {
		return err
	}
	owner := network{number: uint64(n), org: t.intern(get("autonomous_system_organization"))}
	i, ok := t.ownerIndex[owner]
	if !ok {
		i = uint32(len(t.networks))
		t.networks = append(t.networks, owner)
		t.ownerIndex[owner] = i
	}
	t.owners.add(p, i)
	return nil
}
