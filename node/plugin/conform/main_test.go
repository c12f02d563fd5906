package conform_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/epmesh/epmesh/node/plugin/conform"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
)

// TestMain makes this test binary the plugins that are checked, too.
func TestMain(m *testing.M) {
	plugintest.Main()
	if role := os.Getenv(roleEnv); role != "" {
		play(role)
	}
	// The checks wait more than they work.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	conform.Hasten()
	goleak.VerifyTestMain(m)
}
