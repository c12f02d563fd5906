package plugins

import (
	"context"
	"time"
)

// Settings decodes what the files below WORK_DIR/pipeline hold under
// plugins.<name> into a struct with json tags that is filled with the defaults.
// A key that the struct does not have, and a value of the wrong kind, are errors
// that name the setting; no settings at all are none. The keys that the node
// reads there (order, env, args, bundled, disabled) are left out.
//
// Use Duration for times, such as "30s".
func Settings(name string, into any) error {
	return decodeSettings(name, SettingsOf(LoadConfig(WorkDir), name), into)
}

// WatchSettings calls changed with the settings of a plugin whenever they have
// changed after the call, until ctx ends: a copy of defaults, with what the files
// say. What Settings would refuse is handed over as its error, once, with what
// could be read; keep the settings from before then. It looks once a second; run
// it as a goroutine.
//
// defaults must not hold maps or slices that changed writes to: copies share
// them.
func WatchSettings[T any](ctx context.Context, name string, defaults T, changed func(T, error)) {
	watchSettings(ctx, WorkDir, name, SettingsOf(LoadConfig(WorkDir), name).Raw, defaults, changed)
}

func watchSettings[T any](ctx context.Context, dir, name, seen string, defaults T, changed func(T, error)) {
	tick := time.NewTicker(cfgPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := SettingsOf(LoadConfig(dir), name)
		if now.Raw == seen {
			continue
		}
		seen = now.Raw
		settings := defaults
		err := decodeSettings(name, now, &settings)
		changed(settings, err)
	}
}
