package incidents

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/epmesh/epmesh/plugins"
	"github.com/hashicorp/go-hclog"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
)

// asPlugin is what tells the test binary to be the plugin in a work dir.
const asPlugin = "EPMESH_TEST_INCIDENTS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asPlugin); dir != "" {
		if err := beThePlugin(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m,
		// The embedded server's own, which it ends on process exit only.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
	)
}

func beThePlugin(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	level := hclog.Error
	if os.Getenv("EPMESH_TEST_LOG") != "" {
		level = hclog.Info
	}
	log := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: level})
	r, err := New(plugins.Instance{Name: "inc", Dir: dir, Logger: log, Config: gjson.Parse(os.Getenv("EPMESH_TEST_SETTINGS"))})
	if err != nil {
		return err
	}
	return r.Run(ctx)
}
