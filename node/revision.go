package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/pipeline"
	"github.com/hashicorp/go-hclog"
)

const (
	// firstRevision bounds how long a start waits to hear which revision is
	// current; after that the node goes on with the files that it has.
	firstRevision = 10 * time.Second
	// A revision that could not be laid down, for reasons of this machine, is
	// tried again after a pause between these.
	revisionRetryMin = 2 * time.Second
	revisionRetryMax = time.Minute
	// revisionPoll is how often the node asks which revision is current, should a
	// watch have missed it, and says again what it made of it.
	revisionPoll = time.Minute
)

// revisions take what was pushed for all nodes: fetched, verified and compiled
// whole before a file is touched.
type revisions struct {
	n     *Node
	log   hclog.Logger
	store revisionStore

	mu     sync.Mutex
	report bridge.RevisionReport
	told   bridge.RevisionReport // the last one that the mesh has
}

func newRevisions(n *Node) *revisions {
	return &revisions{
		n: n, log: n.log.Named("revision"), store: revisionStore{dir: n.settings.Dir},
		report: bridge.RevisionReport{Node: n.settings.Node, Version: n.opts.Version},
	}
}

// refused is why a revision cannot be taken as it is, here: no further attempt
// mends that.
type refused []string

func (r refused) Error() string { return fmt.Sprintf("%d reasons, first: %s", len(r), r[0]) }

// Refusals are why a node would not take the pipeline and rules folders below
// dir: what does not decode, and steps that do not compile. None: it takes them.
func Refusals(dir string, keepUnderscores bool) []string {
	_, reasons := compiled(dir, keepUnderscores)
	return reasons
}

func compiled(dir string, keepUnderscores bool) (*config.Set, []string) {
	set, report := config.Load(filepath.Join(dir, "pipeline"))
	_, rules := config.LoadRules(filepath.Join(dir, "rules"))
	reasons := lines(append(report.Errors(), rules.Errors()...))
	_, problems := pipeline.Compile(set, pipeline.Options{StripUnderscore: !keepUnderscores})
	for _, p := range problems {
		reasons = append(reasons, p.Error())
	}
	errs, _ := checkAffinity(set)
	return set, relative(append(reasons, errs...), dir)
}

// start takes the current revision before anything of the node runs. Whatever
// goes wrong, the node starts, with the files that it has.
func (rv *revisions) start(ctx context.Context) {
	if err := rv.store.finish(ctx); err != nil {
		rv.log.Error("a revision was laid down in part before, and cannot be finished", "error", err)
	}
	rv.mu.Lock()
	rv.report.Applied = rv.store.applied().Number
	rv.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, firstRevision)
	defer cancel()
	current, err := rv.n.bridge.CurrentRevision(ctx)
	if err != nil {
		rv.log.Warn("cannot ask for the current revision; going on with the files that are here", "error", err)
		return
	}
	if current.Number > 0 {
		_ = rv.take(ctx, current, nil)
	}
}

// Serve takes each revision as it becomes current, until ctx ends.
func (rv *revisions) Serve(ctx context.Context) error {
	latest := make(chan bridge.Revision, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { rv.watch(ctx, latest) })
	poll := time.NewTicker(revisionPoll)
	defer poll.Stop()
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	var want bridge.Revision
	pause := revisionRetryMin
	attempt := func() {
		rv.mu.Lock()
		done := rv.report.Seen >= want.Number && (rv.report.Applied == rv.report.Seen || rv.report.Refused)
		rv.mu.Unlock()
		if !done && rv.take(ctx, want, rv.n.reload) != nil {
			retry.Reset(pause)
			pause = min(2*pause, revisionRetryMax)
		}
		rv.tell(ctx)
	}
	rv.tell(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-latest:
			if r.Number > want.Number {
				want, pause = r, revisionRetryMin
			}
		case <-retry.C:
		case <-poll.C:
			if r, err := rv.n.bridge.CurrentRevision(ctx); err == nil && r.Number > want.Number {
				want, pause = r, revisionRetryMin
			}
		}
		if want.Number > 0 {
			attempt()
		}
	}
}

func (rv *revisions) String() string { return "revisions" }

// watch hands on the newest revision that there is.
func (rv *revisions) watch(ctx context.Context, latest chan bridge.Revision) {
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, 30*time.Second) {
		err := rv.n.bridge.WatchRevision(ctx, func(r bridge.Revision) {
			pause = time.Second
			select {
			case <-latest: // nobody has taken the older one
			default:
			}
			latest <- r // this is the only sender
		})
		if ctx.Err() != nil {
			return
		}
		rv.log.Debug("watching for revisions, beginning again", "error", err, "in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// take makes a revision this node's, and remembers what came of it. reload
// swaps to what was laid down; nil before the node runs. An error means that it
// is worth another attempt.
func (rv *revisions) take(ctx context.Context, r bridge.Revision, reload func(context.Context) []string) error {
	replaced, err := rv.apply(ctx, r, reload)
	why, isRefused := errors.AsType[refused](err)
	rv.mu.Lock()
	rep := &rv.report
	rep.Seen, rep.Refused, rep.Reasons, rep.Time = r.Number, isRefused, nil, time.Now()
	switch {
	case isRefused:
		rep.Reasons = why
	case err != nil:
		rep.Reasons = []string{err.Error()}
	default:
		rep.Applied, rep.Replaced = r.Number, replaced
	}
	rv.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return err
	case isRefused:
		for _, reason := range why {
			rv.log.Error("revision refused; going on with the configuration before", "revision", r.Number, "problem", reason)
		}
		return nil
	case err != nil:
		rv.log.Error("revision not taken yet; going on with the configuration before", "revision", r.Number, "error", err)
		return err
	}
	if replaced != "" {
		rv.log.Warn("local files were in no revision; the mesh's count", "revision", r.Number, "kept in", replaced)
	}
	rv.log.Info("revision taken", "revision", r.Number, "author", r.Author, "message", r.Message)
	return nil
}

func (rv *revisions) apply(ctx context.Context, r bridge.Revision, reload func(context.Context) []string) (replaced string, err error) {
	content, err := rv.n.bridge.RevisionContent(ctx, r)
	if err != nil {
		return "", err
	}
	bundle, err := config.DecodeBundle(content)
	if err != nil {
		return "", refused{err.Error()}
	}
	set, err := rv.compile(ctx, bundle)
	if err != nil {
		return "", err
	}
	if reload != nil {
		if err := rv.n.bridge.EnsureConsumers(ctx, rv.n.consumers(set)); err != nil {
			return "", err
		}
	}
	if replaced, err = rv.store.keepAside(bundle, r); err != nil {
		return "", err
	}
	if err := rv.store.layDown(ctx, r, bundle, content); err != nil {
		return replaced, err
	}
	if reload != nil {
		if reasons := reload(ctx); len(reasons) > 0 {
			return replaced, errors.New(reasons[0])
		}
	}
	return replaced, nil
}

// compile holds a bundle against this node's version, in a folder of its own.
func (rv *revisions) compile(ctx context.Context, bundle config.Bundle) (*config.Set, error) {
	staged, err := os.MkdirTemp(filepath.Join(rv.n.settings.Dir, "run"), "staged-")
	if err != nil {
		return nil, fmt.Errorf("stage revision: %w", err)
	}
	defer os.RemoveAll(staged)
	if err := bundle.LayDown(ctx, staged); err != nil {
		return nil, err
	}
	set, reasons := compiled(staged, rv.n.settings.Pipeline.KeepUnderscores)
	if len(reasons) > 0 {
		return nil, refused(reasons)
	}
	return set, nil
}

// tell tells the mesh what the node made of the newest revision, where that has
// changed or was told long ago.
func (rv *revisions) tell(ctx context.Context) {
	report := rv.Report()
	if report.Seen == 0 {
		return // nothing has been pushed
	}
	old := rv.told.Time.IsZero() || time.Since(rv.told.Time) > bridge.ReportsFor/24
	if !old && rv.told.Seen == report.Seen && rv.told.Applied == report.Applied && slices.Equal(rv.told.Reasons, report.Reasons) {
		return
	}
	report.Time = time.Now()
	if err := rv.n.bridge.ReportRevision(ctx, report); err != nil {
		rv.log.Debug("cannot tell what became of the revision; trying again", "error", err)
		return
	}
	rv.told = report
}

// Report is what the node made of the newest revision.
func (rv *revisions) Report() bridge.RevisionReport {
	rv.mu.Lock()
	defer rv.mu.Unlock()
	return rv.report
}
