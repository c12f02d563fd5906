package workdir

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(dir)
	if used, ok := errors.AsType[*InUse](err); !ok || used.Process != strconv.Itoa(os.Getpid()) || used.Dir != dir {
		t.Errorf("a second one: %v", err)
	}
	release()
	if release, err = Lock(dir); err != nil {
		t.Fatal(err)
	}
	release()
	if _, err := Lock("/dev/null/x"); err == nil {
		t.Error("a work dir below a file")
	}
}
