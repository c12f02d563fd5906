package cel

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/cel/history"
	pb "github.com/epmesh/epmesh/proto"
)

// historySettings are plugins.<name>.history: what is kept for the searches of
// rules, and where.
type historySettings struct {
	// Store is "disk" or "memory".
	Store string `json:"store"`
	// MaxAge is how long events are kept.
	MaxAge plugins.Duration `json:"maxAge"`
	// MaxBytes bounds the files of a store on disk.
	MaxBytes int64 `json:"maxBytes"`
	// Sync is "always", "never" or a duration: when what was added is on the disk
	// itself.
	Sync string `json:"sync"`
	// SearchTime bounds one search in a store on disk.
	SearchTime plugins.Duration `json:"searchTime"`
	// Mesh asks the instances of other nodes; MeshWait bounds the wait for them, and
	// MeshForget is how long one that has gone is named as missing.
	Mesh       bool             `json:"mesh"`
	MeshWait   plugins.Duration `json:"meshWait"`
	MeshForget plugins.Duration `json:"meshForget"`
	// Memory bounds a store in memory.
	Memory historyMemory `json:"memory"`
}

type historyMemory struct {
	MaxEvents int `json:"maxEvents"`
	MaxBytes  int `json:"maxBytes"`
}

func defaultHistory() historySettings {
	return historySettings{
		Store: "disk", MaxAge: plugins.Duration(7 * 24 * time.Hour), MaxBytes: 2 << 30, Sync: "always",
		SearchTime: plugins.Duration(5 * time.Second),
		Mesh:       true, MeshWait: plugins.Duration(500 * time.Millisecond), MeshForget: plugins.Duration(15 * time.Minute),
		Memory: historyMemory{MaxEvents: 200_000, MaxBytes: 64 << 20},
	}
}

// check tells bad what is wrong, as settings.check has it.
func (s historySettings) check(bad func(name string, ok bool, got any, want string)) {
	bad("history.store", s.Store == "disk" || s.Store == "memory", fmt.Sprintf("%q", s.Store), "disk or memory")
	bad("history.maxAge", s.MaxAge.D() >= time.Second, s.MaxAge, "1s or more")
	bad("history.maxBytes", s.MaxBytes >= history.MinBytes && s.MaxBytes <= history.MaxBytes, s.MaxBytes,
		fmt.Sprintf("%d (64 MiB) to %d (32 GiB)", history.MinBytes, int64(history.MaxBytes)))
	_, err := s.sync()
	bad("history.sync", err == nil, fmt.Sprintf("%q", s.Sync), "always, never, or a duration from 10ms, such as 1s")
	bad("history.searchTime", s.SearchTime.D() >= 10*time.Millisecond && s.SearchTime.D() <= time.Minute, s.SearchTime, "10ms to 1m")
	bad("history.meshWait", s.MeshWait.D() >= 10*time.Millisecond && s.MeshWait.D() <= 10*time.Second, s.MeshWait, "10ms to 10s")
	bad("history.meshForget", s.MeshForget.D() >= time.Second && s.MeshForget.D() <= 24*time.Hour, s.MeshForget, "1s to 24h")
	bad("history.memory.maxEvents", s.Memory.MaxEvents >= 1, s.Memory.MaxEvents, "1 or more")
	bad("history.memory.maxBytes", s.Memory.MaxBytes >= 1<<20, s.Memory.MaxBytes, "1048576 (1 MiB) or more")
}

func (s historySettings) sync() (time.Duration, error) {
	switch s.Sync {
	case "always":
		return 0, nil
	case "never":
		return -1, nil
	}
	d, err := time.ParseDuration(s.Sync)
	if err == nil && d < 10*time.Millisecond {
		err = fmt.Errorf("%s is too short", d)
	}
	return d, err
}

// openHistory opens the history of the plugin's instance.
func openHistory(i plugins.Instance, s historySettings) (history.Store, error) {
	if s.Store == "memory" {
		return history.NewMemory(history.Limits{Events: s.Memory.MaxEvents, Bytes: s.Memory.MaxBytes, Age: s.MaxAge.D()}), nil
	}
	if i.Name == "" || strings.ContainsAny(i.Name, `/\`) || i.Name == ".." {
		return nil, fmt.Errorf("history: %q is no name for a folder", i.Name)
	}
	every, err := s.sync()
	if err != nil {
		return nil, fmt.Errorf("history.sync: %w", err)
	}
	return history.Open(filepath.Join(i.Dir, "state", i.Name, "history"), history.Options{
		MaxBytes: s.MaxBytes, MaxAge: s.MaxAge.D(), Sync: every, SearchTime: s.SearchTime.D(), Logger: i.Logger,
	})
}

// eventTime is when the event says it came in; now where it says nothing.
func eventTime(e *pb.Event, now time.Time) time.Time {
	for _, text := range []string{e.Timestamp, e.DeviceTime} {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return t
		}
	}
	return now
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
