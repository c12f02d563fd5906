package history

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("EPMESH_HISTORY_VICTIM"); dir != "" {
		victim(dir)
	}
	goleak.VerifyTestMain(m)
}
