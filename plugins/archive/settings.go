package archive

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// Settings are plugins.<name> in the configuration.
type Settings struct {
	// Dir is where the files lie: absolute, or below the work dir.
	Dir string `json:"dir"`
	// Events and Alerts say what is kept.
	Events bool `json:"events"`
	Alerts bool `json:"alerts"`
	// Tenants and DataTypes restrict it; empty means all.
	Tenants   []string `json:"tenants"`
	DataTypes []string `json:"dataTypes"`
	// Compression is "zstd" or "gzip".
	Compression string `json:"compression"`
	// Day is what a file's day is made of: "event", the item's own time, or
	// "arrival".
	Day string `json:"day"`
	// MaxPast and MaxFuture bound an item's own time; one beyond goes by its
	// arrival.
	MaxPast   plugins.Duration `json:"maxPast"`
	MaxFuture plugins.Duration `json:"maxFuture"`
	// MaxBytes (compressed) and MaxAge end a file.
	MaxBytes int64            `json:"maxBytes"`
	MaxAge   plugins.Duration `json:"maxAge"`
	// MaxOpen is how many files are open at once.
	MaxOpen int `json:"maxOpen"`
	// Manifest writes the number of lines and a SHA-256 beside each file.
	Manifest bool `json:"manifest"`
	// KeepFor and KeepBytes end what is kept; 0 is for ever.
	KeepFor   plugins.Duration `json:"keepFor"`
	KeepBytes int64            `json:"keepBytes"`
	// RecentIDs is how many ids are known again.
	RecentIDs int `json:"recentIds"`
}

const (
	byEvent   = "event"
	byArrival = "arrival"
)

// Defaults are the settings where the configuration says nothing, as a Settings.
func Defaults() any { return defaults() }

func defaults() Settings {
	return Settings{
		Dir: "archive", Events: true, Alerts: true, Compression: zstdName, Day: byEvent,
		MaxPast: plugins.Duration(31 * 24 * time.Hour), MaxFuture: plugins.Duration(24 * time.Hour),
		MaxBytes: 128 << 20, MaxAge: plugins.Duration(time.Hour), MaxOpen: 128, RecentIDs: 1 << 17,
	}
}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	if !filepath.IsAbs(s.Dir) {
		s.Dir = filepath.Join(i.Dir, s.Dir)
	}
	return &archive{Instance: i, Settings: s, node: safeName(cmp.Or(os.Getenv("NODE_NAME"), i.Host))}, nil
}

func (s Settings) check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Dir == "" || !filepath.IsAbs(s.Dir) && !filepath.IsLocal(s.Dir) {
		add("dir: is %q, want a folder, absolute or below the work dir", s.Dir)
	}
	if !s.Events && !s.Alerts {
		add("events and alerts: one of them must be true")
	}
	if !slices.Contains([]string{zstdName, gzipName}, s.Compression) {
		add("compression: is %q, want zstd or gzip", s.Compression)
	}
	if s.Day != byEvent && s.Day != byArrival {
		add("day: is %q, want event or arrival", s.Day)
	}
	duration := func(name string, d plugins.Duration, least, most time.Duration) {
		if d.D() < least || d.D() > most {
			add("%s: is %s, want %s to %s", name, d, least, most)
		}
	}
	const year = 366 * 24 * time.Hour
	duration("maxPast", s.MaxPast, 0, 20*year)
	duration("maxFuture", s.MaxFuture, 0, year)
	duration("maxAge", s.MaxAge, time.Second, 24*time.Hour)
	if s.KeepFor != 0 {
		duration("keepFor", s.KeepFor, time.Hour, 100*year)
	}
	if s.MaxBytes < 4096 || s.MaxBytes > 1<<40 {
		add("maxBytes: is %d, want 4096 to %d", s.MaxBytes, int64(1)<<40)
	}
	if s.MaxOpen < 1 || s.MaxOpen > 10_000 {
		add("maxOpen: is %d, want 1 to 10000", s.MaxOpen)
	}
	if s.KeepBytes != 0 && s.KeepBytes < s.MaxBytes {
		add("keepBytes: is %d, want 0 for no bound, or at least maxBytes (%d)", s.KeepBytes, s.MaxBytes)
	}
	if s.RecentIDs < 0 || s.RecentIDs > 1<<24 {
		add("recentIds: is %d, want 0 to %d", s.RecentIDs, 1<<24)
	}
	return errors.Join(errs...)
}
