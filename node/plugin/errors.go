package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Failure is what a failed call means for the item that was sent.
type Failure int

const (
	// OK is the class of a nil error.
	OK Failure = iota
	// Absent: the plugin is not connected; it has not seen the item.
	Absent
	// Lost: the connection broke while the call was under way. The plugin has
	// died, and the item may be why.
	Lost
	// Timeout: no answer within the call timeout.
	Timeout
	// Busy: the plugin answered with an error that may pass.
	Busy
	// Permanent: no further attempt can mend it.
	Permanent
	// Later: the plugin answered that it cannot take anything now, and that it is
	// not the item's fault: Unavailable or ResourceExhausted with a
	// google.rpc.RetryInfo.
	Later
	// Ended: this node gave the call up, because the caller's context ended or
	// the registry stopped. It says nothing about the item.
	Ended
)

func (f Failure) String() string {
	switch f {
	case OK:
		return "ok"
	case Absent:
		return "absent"
	case Lost:
		return "lost"
	case Timeout:
		return "timeout"
	case Busy:
		return "busy"
	case Permanent:
		return "permanent"
	case Later:
		return "later"
	case Ended:
		return "ended"
	}
	return fmt.Sprintf("Failure(%d)", int(f))
}

// DeadlyAttempts is how often a plugin may die over an item (Lost) before the
// item is given up. All but the first time nothing else was with the plugin.
const DeadlyAttempts = 4

// Class is what err, returned by a Client, means for the item. An error that no
// Client made is Ended if a context ended, else Busy.
func Class(err error) Failure {
	var e *callError
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.failure
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Ended
	}
	return Busy
}

// Answered is the text of the error that a live plugin itself answered with. ok
// is false where the error is not the plugin's own word but the transport's, the
// timeout's or this node's.
func Answered(err error) (text string, ok bool) {
	var e *callError
	if errors.As(err, &e) && e.answered {
		return e.text, true
	}
	return "", false
}

// Unimplemented reports whether a live plugin answered that it does not serve
// the method at all, as an Output plugin may that wants events but no alerts.
func Unimplemented(err error) bool {
	var e *callError
	return errors.As(err, &e) && e.answered && status.Code(e.cause) == codes.Unimplemented
}

// callError is the one error type of calls.
type callError struct {
	failure  Failure
	answered bool
	name     string
	kind     Kind
	text     string
	cause    error
}

func (e *callError) Error() string {
	return fmt.Sprintf("%s plugin %q %s", e.kind, e.name, e.describe())
}

func (e *callError) describe() string {
	if e.answered {
		return "answered: " + e.text
	}
	return e.text
}

func (e *callError) Unwrap() error { return e.cause }

// maxErrorText bounds what is kept of a plugin's own words.
const maxErrorText = 4 << 10

// outcome is all that classify looks at, besides the error.
type outcome struct {
	caller  error // what the caller's context ended with
	expired bool  // this node ended the call at its timeout
	sent    bool  // a stream was opened on the connection
	ended   bool  // the plugin's life had ended when the call returned
	broken  bool  // ... because the connection broke
	stopped bool  // this node closed the connection
	word    bool  // the plugin's own word, whatever became of the connection
}

// classify turns a gRPC error into ours. Everything that is known about what
// gRPC's codes mean in which situation stands here and nowhere else.
func (c *Client) classify(err error, o outcome) error {
	st := status.Convert(err)
	e := &callError{name: c.name, kind: c.kind, cause: err}
	if o.caller != nil {
		// What callers look for with errors.Is; the status says no more.
		e.failure, e.text, e.cause = Ended, "call given up: "+o.caller.Error(), o.caller
		return e
	}
	switch code := st.Code(); code {
	case codes.Unavailable, codes.Canceled:
		switch {
		case o.word:
		case o.stopped:
			e.failure, e.text = Ended, "call given up: the node stops"
			return e
		case code == codes.Canceled:
		case o.ended && o.sent && o.broken:
			e.failure, e.text = Lost, "ended while the call was under way"
			return e
		case o.ended || !o.sent:
			e.failure, e.text = Absent, absentText
			return e
		}
	case codes.DeadlineExceeded:
		if o.expired {
			e.failure, e.text = Timeout, fmt.Sprintf("gave no answer within %v", c.opts.CallTimeout)
			return e
		}
	case codes.ResourceExhausted:
		if isTooLarge(st.Message()) {
			e.failure, e.text = Permanent, "cannot take or give a message of this size: "+st.Message()
			return e
		}
	}
	e.answered = true
	e.text = fmt.Sprintf("%s (%s)", limitText(st.Message()), st.Code())
	switch st.Code() {
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		e.failure = Permanent
	case codes.Unavailable, codes.ResourceExhausted:
		e.failure = Busy
		if hasRetryInfo(st) {
			e.failure = Later
		}
	case codes.DeadlineExceeded:
		e.failure = Timeout
	default:
		e.failure = Busy
	}
	return e
}

const absentText = "is not connected"

func (c *Client) absent() error {
	return &callError{failure: Absent, name: c.name, kind: c.kind, text: absentText}
}

func (c *Client) permanent(format string, args ...any) error {
	return &callError{failure: Permanent, name: c.name, kind: c.kind, text: fmt.Sprintf(format, args...)}
}

func (c *Client) tooMany() error {
	return c.permanent("answered one event with more than %d alerts, the most that is taken", c.opts.MaxAlerts)
}

func (c *Client) tooMuch() error {
	return c.permanent("answered one event with more than %d bytes of alerts, the most that is taken", c.opts.MaxReply)
}

// isTooLarge knows the words of the gRPC implementations (Go, C core, Java) for
// a message over the receiver's limit. They share a code with errors that pass.
func isTooLarge(message string) bool {
	m := strings.ToLower(message)
	return strings.Contains(m, "larger than max") || strings.Contains(m, "exceeds maximum size")
}

// hasRetryInfo reports whether an answer says when to come again.
func hasRetryInfo(st *status.Status) bool {
	for _, detail := range st.Proto().GetDetails() {
		if strings.HasSuffix(detail.GetTypeUrl(), "/google.rpc.RetryInfo") {
			return true
		}
	}
	return false
}

// isEOF: the SDK's analysis plugins end their stream with io.EOF, which Go's
// gRPC sends as an unknown error of that text.
func isEOF(err error) bool {
	st := status.Convert(err)
	return st.Code() == codes.Unknown && st.Message() == "EOF"
}

// isNoReply is the client's complaint about an OK without a message.
func isNoReply(err error) bool {
	st := status.Convert(err)
	return st.Code() == codes.Internal &&
		strings.HasPrefix(st.Message(), "cardinality violation: received no response message")
}

func limitText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "..."
	}
	return s
}
