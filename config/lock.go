package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// lockName is what the ecosystem calls the lock of a pipeline folder.
	lockName = "config.lock"
	// lockStale is the age from which on a lock counts as left behind.
	lockStale = time.Minute
	// lockPause lies between two tries to take a lock.
	lockPause = 20 * time.Millisecond
)

// Lock takes the lock of a pipeline folder, for one who writes there. It waits
// until the lock is free or ctx ends, and removes one that is older than a
// minute. Release gives it back; a plugin that finds the lock waits for ten
// seconds or more, so hold it for milliseconds.
//
// Load needs no lock: files that are replaced whole are never seen in part.
func Lock(ctx context.Context, dir string) (release func() error, err error) {
	path := filepath.Join(dir, lockName)
	for {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
		if err == nil {
			return held(path, f)
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lock the pipeline folder: %w", err)
		}
		info, err := os.Lstat(path)
		if err == nil && time.Since(info.ModTime()) > lockStale {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("remove a stale lock: %w", err)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock the pipeline folder: %w; if no process works on it, remove %s", ctx.Err(), path)
		case <-time.After(lockPause):
		}
	}
}

// held writes the owner into a new lock.
func held(path string, f *os.File) (func() error, error) {
	_, err := f.WriteString(strconv.Itoa(os.Getpid()))
	own, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("write the lock: %w", err)
	}
	return func() error {
		// After a minute others may have taken it over; theirs stays.
		// The time is looked at as file systems give numbers of files anew.
		if now, err := os.Lstat(path); err != nil || !os.SameFile(own, now) || !own.ModTime().Equal(now.ModTime()) {
			return errors.New("release the lock: it was held for too long and taken over")
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("release the lock: %w", err)
		}
		return nil
	}, nil
}

// locked tells whether somebody writes to the folder.
func locked(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, lockName))
	return err == nil && time.Since(info.ModTime()) <= lockStale
}

// WriteFile puts a file into a pipeline folder, which it makes if need be, or
// replaces one. Readers see the old or the new content, never a part. Name is
// relative to dir and may name a folder below it.
func WriteFile(ctx context.Context, dir, name string, data []byte) (err error) {
	if !filepath.IsLocal(name) || filepath.Ext(name) != ".yaml" {
		return fmt.Errorf("write pipeline file: %q is not the name of a .yaml file below the folder", name)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write pipeline file %s: %w", name, err)
		}
	}()
	path := filepath.Join(dir, name)
	// Written before the lock is taken, so that the lock covers the rename alone.
	tmp, err := writeBeside(path, data)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // gone if renamed
	release, err := Lock(ctx, dir)
	if err != nil {
		return err
	}
	err = os.Rename(tmp, path)
	return errors.Join(err, release(), syncDir(filepath.Dir(path)))
}

// syncDir makes a rename survive a power loss.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
