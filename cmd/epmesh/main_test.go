package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain makes this test binary the epmesh command too: the scripts run it,
// and it runs itself again for the bundled plugins and the guard. It is a
// parsing plugin besides.
func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){"epmesh": main, "testplugin": testPlugin})
}

type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
