package expr

import (
	"errors"

	"cel.dev/cel-go/interpreter"
	"github.com/epmesh/epmesh/node/pattern"
)

// Costly tells of an error of Eval that the evaluation was ended because it took
// too much: its cost, its time, or a regular expression that gave up. Any other
// error is about values that the document does not have, or has of another type.
func Costly(err error) bool {
	var ended interpreter.EvalCancelledError
	return errors.Is(err, pattern.ErrSlow) || errors.Is(err, errTooLong) || errors.As(err, &ended)
}
