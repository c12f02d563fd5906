package geolocation

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// locator is the running plugin.
type locator struct {
	plugins.Instance
	settings

	data   atomic.Pointer[data]
	flawed atomic.Bool // an error of a database was logged
}

// Run loads the files, serves until ctx ends, and loads them again as they change.
func (l *locator) Run(ctx context.Context) error {
	seen := l.stamp()
	d, err := load(l.Folder, l.Locale, l.MaxBytes)
	switch {
	case err != nil && l.Require:
		return fmt.Errorf("load geolocation: %w", err)
	case err != nil:
		l.Logger.Error("not all files can be read, the others are used", "error", err)
	case d.files == 0 && l.Require:
		return fmt.Errorf("load geolocation: no .mmdb or .csv below %s, and the setting require is true", l.Folder)
	case d.files == 0:
		l.Logger.Warn("no files: every address is answered with nothing known; put .mmdb files or GeoLite2's CSV there", "folder", l.Folder)
	}
	l.swap(d)
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return plugins.Serve(gctx, plugins.Options{Name: l.Name, Dir: l.Dir, Logger: l.Logger, Parse: l.parse})
	})
	group.Go(func() error { l.watch(gctx, seen); return nil })
	return group.Wait()
}

// stamp tells whether the files have changed. What cannot be listed, load tells.
func (l *locator) stamp() string {
	set, _ := find(l.Folder)
	return set.stamp
}

func (l *locator) swap(d *data) {
	l.data.Store(d)
	l.flawed.Store(false)
	if d.files > 0 {
		l.Logger.Info("loaded", "files", d.files, "bytes", d.bytes)
	}
	// What loading needed beside, and the set before, would else stay for long.
	debug.FreeOSMemory()
}

// watch loads the files again when they have changed and then stood still for one
// look: a file that is being copied there would be taken in part.
func (l *locator) watch(ctx context.Context, loaded string) {
	ticker := time.NewTicker(l.Reload.D())
	defer ticker.Stop()
	before := loaded
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := l.stamp()
		still := now == before
		before = now
		if now == loaded || !still {
			continue
		}
		d, err := load(l.Folder, l.Locale, l.MaxBytes)
		if l.stamp() != now {
			continue // they moved while they were read
		}
		loaded = now
		switch {
		case err != nil:
			l.Logger.Error("changed files are not taken, the old ones go on to answer", "error", err)
		case d.files == 0:
			l.Logger.Error("the files are gone, what was loaded goes on to answer", "folder", l.Folder)
		default:
			l.swap(d)
		}
	}
}

// parse answers a dynamic step with params {source, destination}. A source that
// is missing, or holds no address, leaves the draft as it is; an address of which
// nothing is known gets an empty mapping.
func (l *locator) parse(_ context.Context, t *plugins.Transform) (*plugins.Draft, error) {
	draft := t.GetDraft()
	params := t.GetStep().GetDynamic().GetParams()
	source, destination := params["source"].GetStringValue(), params["destination"].GetStringValue()
	if source == "" || destination == "" {
		return nil, status.Error(codes.InvalidArgument, "geolocation: the step needs params source and destination, such as origin.ip and origin.geolocation")
	}
	switch destination {
	case "raw", "@timestamp", "id":
		return nil, status.Errorf(codes.InvalidArgument, "geolocation: destination: %s cannot be set", destination)
	}
	value := gjson.Get(draft.GetLog(), source)
	if value.Type != gjson.String {
		return draft, nil
	}
	ip, err := netip.ParseAddr(value.Str)
	if err != nil {
		return draft, nil
	}
	p, n, err := l.data.Load().find(ip)
	if err != nil && l.flawed.CompareAndSwap(false, true) {
		l.Logger.Error("a database has a record that cannot be read; further ones of this set are not logged", "error", err)
	}
	if !l.Accuracy {
		p.accuracy = 0
	}
	var room [256]byte
	log, err := sjson.SetRaw(draft.GetLog(), destination, string(appendJSON(room[:0], p, n)))
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "geolocation: destination %q: %v", destination, err)
	}
	draft.Log = log
	return draft, nil
}
