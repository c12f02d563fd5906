package file

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// readStdin sends standard input, which has no position to keep. A read that
// waits cannot be broken off, so it is left behind when ctx ends.
func (r *reader) readStdin(ctx context.Context) error {
	if r.Stdin == nil {
		return errors.New(`paths: "-" is given and there is no standard input`)
	}
	done := make(chan error, 1)
	go func() { done <- r.pass(ctx, r.Stdin) }()
	select {
	case err := <-done:
		if err == nil {
			r.Logger.Info("standard input has ended")
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pass sends the records of a stream until it ends.
func (r *reader) pass(ctx context.Context, in io.Reader) error {
	var buf []byte
	e := grows
	for {
		size := r.cutter.cut(buf, e)
		if size > 0 {
			if raw := text(buf[:size]); raw != "" {
				if err := r.send(ctx, "", raw, nil); err != nil {
					return err
				}
			}
			buf = buf[:copy(buf, buf[size:])]
			continue
		}
		if e == final {
			return nil
		}
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, max(64<<10, cap(buf)))...)[:len(buf)]
		}
		n, err := in.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			e = final
		} else if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
}
