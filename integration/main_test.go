package integration

import (
	"fmt"
	"os"
	"testing"

	"github.com/epmesh/epmesh/node/plugin/plugintest"
	"go.uber.org/goleak"
)

// TestMain makes this test binary the plugins and the NATS server of its tests
// too: it runs itself again for them.
func TestMain(m *testing.M) {
	plugintest.Main()
	runProgram()
	code := m.Run()
	removeBinary()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
