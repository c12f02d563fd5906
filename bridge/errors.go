package bridge

import "errors"

// ErrDropped is what a Handler returns when the item was discarded on purpose:
// it is done and counted as dropped. Outputs beside it are stored.
var ErrDropped = errors.New("dropped")

type verdict struct {
	err       error
	permanent bool
}

func (v *verdict) Error() string { return v.err.Error() }
func (v *verdict) Unwrap() error { return v.err }

// Permanent marks an error that no further attempt can mend: the item goes to
// the dead letters at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &verdict{err: err, permanent: true}
}

// Wait marks an error that says nothing about the item: what it needs is not
// there now. The item goes back to the stream, no attempt is counted, and it
// comes again later. Wait(nil) is nil.
func Wait(err error) error {
	if err == nil {
		return nil
	}
	return &verdict{err: err}
}

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var v *verdict
	return errors.As(err, &v) && v.permanent
}

// IsWait reports whether err was marked by Wait.
func IsWait(err error) bool {
	var v *verdict
	return errors.As(err, &v) && !v.permanent
}
