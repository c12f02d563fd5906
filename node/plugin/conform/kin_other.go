//go:build !linux

package conform

// relative is a process that the plugin started; only Linux shows them.
type relative struct{ pid int }

func (relative) alive() bool { return false }

func descendants(int) []relative { return nil }

func memory(int) int64 { return 0 }
