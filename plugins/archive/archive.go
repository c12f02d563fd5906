// Package archive is the bundled output plugin that keeps events and alerts in
// compressed files of JSON lines, by tenant and day.
//
// A call is answered with success once its line is on the disk. Calls that come
// at once share one write and one sync; what they wrote is one frame of the
// file, whole and checksummed, so that a file can be read at any time and what a
// crash tore is known and cut.
package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/epmesh/epmesh/node/wire"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/internal/delivery"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	kindEvents = "events"
	kindAlerts = "alerts"
)

// archive is the running plugin.
type archive struct {
	plugins.Instance
	Settings
	node string // as it stands in file names

	once *delivery.Once
	w    *writer
}

// Run serves until ctx ends.
func (a *archive) Run(ctx context.Context) error {
	if err := a.open(); err != nil {
		return fmt.Errorf("plugins.%s: %w", a.Name, err)
	}
	opts := plugins.Options{Name: a.Name, Dir: a.Instance.Dir, Logger: a.Logger}
	if a.Events {
		opts.EventOutput = a.event
	}
	if a.Alerts {
		opts.AlertOutput = a.alert
	}
	err := plugins.Serve(ctx, opts)
	return errors.Join(err, a.close())
}

// open locks the folder, mends what a crash left, and starts the writer.
func (a *archive) open() error {
	if err := os.MkdirAll(a.Settings.Dir, 0o750); err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	a.once = delivery.NewOnce(a.RecentIDs)
	w, err := newWriter(a.Settings, a.node, a.Logger)
	if err != nil {
		return err
	}
	if err := w.recover(func(kind, tenant, id string) { a.once.Add(itemKey(kind, tenant, id)) }); err != nil {
		return errors.Join(err, w.unlock())
	}
	w.start()
	a.w = w
	return nil
}

func (a *archive) close() error { return a.w.stop() }

func (a *archive) event(ctx context.Context, e *pb.Event) error {
	return a.put(ctx, item{kindEvents, e.GetTenantId(), e.GetDataType(), e.GetId(), e.GetTimestamp()}, e)
}

func (a *archive) alert(ctx context.Context, al *pb.Alert) error {
	return a.put(ctx, item{kindAlerts, al.GetTenantId(), al.GetDataType(), al.GetId(), al.GetTimestamp()}, al)
}

// item is what has to be known of an event or alert.
type item struct{ kind, tenant, dataType, id, timestamp string }

func itemKey(kind, tenant, id string) delivery.Key {
	return delivery.KeyOf(id, kind+"\x00"+tenant)
}

// put returns once the item is on the disk, or where it is not wanted.
func (a *archive) put(ctx context.Context, it item, m proto.Message) error {
	if !wanted(a.Tenants, it.tenant) || !wanted(a.DataTypes, it.dataType) {
		return nil
	}
	text, err := wire.JSON(m)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "%v", err)
	}
	write := func() error {
		now := time.Now()
		return a.w.put(ctx, place{tenantFolder(it.tenant), a.day(it.timestamp, now), it.kind}, append(text, '\n'))
	}
	if it.id != "" && a.RecentIDs > 0 {
		err = a.once.Do(ctx, itemKey(it.kind, it.tenant, it.id), write)
	} else {
		err = write()
	}
	if err != nil && ctx.Err() == nil {
		// The disk is to blame and not the item: it waits for as long as it takes.
		return plugins.Later(5*time.Second, "%v", err)
	}
	return err
}

func wanted(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
