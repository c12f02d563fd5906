package config

import (
	"math"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0":                   0,
		"17":                  17,
		"17B":                 17,
		"512KiB":              512 << 10,
		"8MiB":                8 << 20,
		"2GiB":                2 << 30,
		"3KB":                 3000,
		"4MB":                 4e6,
		"5GB":                 5e9,
		" 8 mib ":             8 << 20,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                     "not a size",
		"MiB":                  "not a size",
		"-1":                   "not a size",
		"1.5MiB":               "not a size",
		"1 TiB":                "not a size",
		"1MiBs":                "not a size",
		"0x10":                 "not a size",
		"9223372036854775808":  "too large",
		"8589934592GiB":        "too large",
		"9007199254740992 KiB": "too large",
	} {
		if got, err := ParseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSize(%q) = %d, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestSizeString(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0", 1: "1B", 1000: "1KB", 1024: "1KiB", 1500: "1500B", 8 * MiB: "8MiB", 1536 * KiB: "1536KiB", 3 * GiB: "3GiB", 5e9: "5GB",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d: %s, want %s", int64(size), got, want)
		}
	}
}

func TestSizeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom(sizeUnits).Draw(t, "unit").bytes
		size := unit * Size(rapid.Int64Range(0, math.MaxInt64/int64(unit)).Draw(t, "n"))
		out, err := yaml.Marshal(map[string]Size{"s": size})
		if err != nil {
			t.Fatal(err)
		}
		var in map[string]Size
		if err := yaml.Unmarshal(out, &in); err != nil || in["s"] != size {
			t.Errorf("%d became %q and then %d: %v", size, out, in["s"], err)
		}
	})
	var list []Size
	if err := yaml.Unmarshal([]byte("[[1]]"), &list); err == nil {
		t.Error("a list was read as a size")
	}
}
