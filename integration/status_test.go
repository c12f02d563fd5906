package integration

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
)

// Right after the loss of one of three NATS servers the status is whole, or says
// what could not be asked, and soon it is whole again.
func TestStatusAfterTheLossOfAServer(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, nil)
	startNode(t, shortdir.New(t), "NATS_URL="+c.url(), "EPMESH_NATS_REPLICAS=3").await()
	c.whole(observeURL(t, c.url()))
	c.servers[0].end(syscall.SIGKILL)
	eventually(t, "the status is whole", func() bool {
		cmd := epmeshCommand(t, "status", "--url", c.url())
		var out, complaint bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaint
		err := cmd.Run()
		exit, failed := errors.AsType[*exec.ExitError](err)
		t.Logf("status: %v %s", err, complaint.String())
		switch {
		case err == nil && strings.Contains(out.String(), "\nEPMESH_KEYED") && !strings.Contains(out.String(), "could not be asked"):
			return true
		case failed && exit.ExitCode() == 3:
			return false // the node looks for another server longer than status waits
		case !failed || exit.ExitCode() != 1 || !strings.Contains(out.String(), "could not be asked") || !strings.Contains(out.String(), "\nn1 "):
			t.Fatalf("%v\n%s%s", err, out.String(), complaint.String())
		}
		return false
	})
}
