package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// disk is an ext4 file system of its own, in a file, whose power can be cut.
type disk struct {
	t     *testing.T
	image string
	at    string // where it is mounted
}

// mountDisk makes one and mounts it. That takes root and loop devices; elsewhere
// the test skips.
func mountDisk(t *testing.T, at string, size int64) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a disk whose power is cut is a file system in a file: mounting it takes root")
	}
	for _, name := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("a disk whose power is cut needs %s: %v", name, err)
		}
	}
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk.img"), at: at}
	f, err := os.Create(d.image)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close(), os.MkdirAll(at, 0o750))
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", d.image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	if out, err := d.mount(); err != nil {
		t.Skipf("loop devices cannot be mounted here: %v: %s", err, strings.TrimSpace(out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", d.at).Run() })
	return d
}

func (d *disk) mount() (string, error) {
	out, err := exec.Command("mount", "-o", "loop", d.image, d.at).CombinedOutput()
	return string(out), err
}

// cutPower has the file system write nothing any more, not even its journal, and
// mounts it again as it is on the disk then: what was only in the page cache is
// gone. It is what xfstests does to the same end (src/godown.c); see
// EXT4_IOC_SHUTDOWN in the kernel's fs/ext4/ioctl.c. Nobody may have a file of it
// open.
func (d *disk) cutPower() {
	d.t.Helper()
	const (
		shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
		noLogFlush = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	dir, err := os.Open(d.at)
	if err != nil {
		d.t.Fatal(err)
	}
	err = unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush)
	dir.Close()
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		d.t.Skipf("this kernel's ext4 cannot be shut down: %v", err)
	}
	if err != nil {
		d.t.Fatalf("shut %s down: %v", d.at, err)
	}
	if out, err := exec.Command("umount", d.at).CombinedOutput(); err != nil {
		d.t.Fatalf("umount: %v\n%s", err, out)
	}
	if out, err := d.mount(); err != nil {
		d.t.Fatalf("mount again: %v\n%s", err, out)
	}
}
