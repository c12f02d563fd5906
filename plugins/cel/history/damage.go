package history

import (
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"runtime/debug"
)

// errDamaged is the error of files that are not as they were written.
var errDamaged = errors.New("the file is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// guard makes an error of what the kernel raises where a mapped file cannot be
// read, such as on a broken disk. It is deferred as guard(&err)().
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		r := recover()
		if r == nil {
			return
		}
		if fault, ok := r.(interface {
			runtime.Error
			Addr() uintptr
		}); ok {
			*err = fmt.Errorf("history: read mapped file: %w", fault)
			return
		}
		panic(r)
	}
}
