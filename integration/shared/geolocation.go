package shared

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// Geolocation is a parsing plugin that answers from the tables of the
// recordings. It may be called by many goroutines at once.
type Geolocation struct {
	blocks, asns []record
	locations    map[string]map[string]string
}

type record struct {
	network netip.Prefix
	columns map[string]string
}

// LoadGeolocation reads the tables from a folder.
func LoadGeolocation(dir string) (*Geolocation, error) {
	g := &Geolocation{locations: map[string]map[string]string{}}
	network := func(to *[]record) func(map[string]string) error {
		return func(c map[string]string) error {
			prefix, err := netip.ParsePrefix(c["network"])
			*to = append(*to, record{prefix, c})
			return err
		}
	}
	for name, take := range map[string]func(map[string]string) error{
		"blocks-v4.csv": network(&g.blocks), "blocks-v6.csv": network(&g.blocks),
		"asn-blocks-v4.csv": network(&g.asns), "asn-blocks-v6.csv": network(&g.asns),
		"locations-en.csv": func(c map[string]string) error { g.locations[c["geoname_id"]] = c; return nil },
	} {
		if err := eachRow(filepath.Join(dir, name), take); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// eachRow gives the rows of a table by their headers.
func eachRow(file string, take func(map[string]string) error) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil || len(rows) == 0 {
		return fmt.Errorf("%s: %d rows, %w", file, len(rows), err)
	}
	for _, row := range rows[1:] {
		columns := map[string]string{}
		for i, header := range rows[0] {
			columns[header] = row[i]
		}
		if err := take(columns); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func find(records []record, ip netip.Addr) map[string]string {
	for _, r := range records {
		if r.network.Contains(ip) {
			return r.columns
		}
	}
	return nil
}

// Parse puts what the tables know of the address in params.source into
// params.destination.
func (g *Geolocation) Parse(_ context.Context, t *pb.Transform) (*pb.Draft, error) {
	params := t.GetStep().GetDynamic().GetParams()
	draft := t.GetDraft()
	ip, err := netip.ParseAddr(gjson.Get(draft.Log, params["source"].GetStringValue()).String())
	if err != nil {
		return draft, nil
	}
	geo := map[string]any{}
	if b := find(g.blocks, ip); b != nil {
		place := g.locations[b["geoname_id"]]
		geo["country"], geo["countryCode"], geo["city"] = place["country_name"], place["country_iso_code"], place["city_name"]
		geo["latitude"], _ = strconv.ParseFloat(b["latitude"], 64)
		geo["longitude"], _ = strconv.ParseFloat(b["longitude"], 64)
	}
	if a := find(g.asns, ip); a != nil {
		geo["asn"], _ = strconv.ParseUint(a["autonomous_system_number"], 10, 64)
		geo["aso"] = a["autonomous_system_organization"]
	}
	draft.Log, err = sjson.Set(draft.Log, params["destination"].GetStringValue(), geo)
	return draft, err
}
