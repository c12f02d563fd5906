package stage_test

import (
	"testing"

	"github.com/epmesh/epmesh/node/plugin/plugintest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	plugintest.Main()
	goleak.VerifyTestMain(m,
		// The server's own, which it ends on process exit only.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
	)
}
