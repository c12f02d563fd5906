package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes, as docs/commands.md promises them to scripts.
const (
	codeOK          = 0
	codeFailed      = 1
	codeUsage       = 2   // the command line is wrong; nothing was done
	codeUnreachable = 3   // no node or server answers
	codeInterrupted = 130 // a second signal ended the program before it was done
)

// coded is an error with an exit code of its own.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

// usagef is an error about the command line.
func usagef(format string, args ...any) error {
	return coded{fmt.Errorf(format, args...), codeUsage}
}

// unreachablef is an error about somebody who does not answer.
func unreachablef(format string, args ...any) error {
	return coded{fmt.Errorf(format, args...), codeUnreachable}
}

// errSilent is a failure that was told already.
var errSilent = errors.New("failed")

// report tells an error to the user, if there is one, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return codeOK
	}
	if !errors.Is(err, errSilent) {
		complain(w, err.Error())
	}
	if c, ok := errors.AsType[coded](err); ok {
		return c.code
	}
	return codeFailed
}

// complain writes a text for the user, each line with the program's name.
func complain(w io.Writer, text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintf(w, "epmesh: %s\n", printable(strings.TrimRight(line, "\n")))
	}
}

// parseError says what is wrong with a command line and where the help is.
func parseError(err error) error {
	help := "epmesh --help"
	if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context != nil && p.Context.Selected() != nil {
		help = p.Context.Selected().FullPath() + " --help"
	}
	return usagef("%w; see %s", err, help)
}

// interrupted reports whether a failure is only that the user ended the command.
func interrupted(ctx context.Context) bool { return ctx.Err() != nil }
