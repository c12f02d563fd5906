package offline

import (
	"testing"

	"github.com/epmesh/epmesh/node/plugin/plugintest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	plugintest.Main()
	goleak.VerifyTestMain(m)
}
