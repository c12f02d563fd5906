package integration

import (
	"path/filepath"
	"testing"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
)

// After a SIGKILL of the node no plugin of it stays behind, nor what a plugin
// started, and where the next node starts at once none runs twice.
func TestNoPluginOutlivesItsNode(t *testing.T) {
	t.Parallel()
	dir := shortdir.New(t)
	folder := filepath.Join(dir, "records")
	configure(t, dir, "plugins: {analysis: {order: [judge]}}\n")
	program{Kind: plugin.Analysis, Name: "judge", Records: folder, Child: true}.install(t, dir)
	program{Kind: plugin.Output, Name: "archive", Records: folder}.install(t, dir)
	all := []string{"judge", "judge-child", "archive"}

	const lives = 6
	for life := range lives {
		n := startNode(t, dir).await()
		eventually(t, "all started once more", func() bool {
			for _, name := range all {
				if len(records(t, folder, name+".pids", 1)) <= life {
					return false
				}
			}
			return true
		})
		n.kill()
		if life%2 == 0 {
			continue // the next node starts at once
		}
		eventually(t, "nothing left", func() bool { return len(running(t, folder, all)) == 0 })
	}
	eventually(t, "nothing left", func() bool { return len(running(t, folder, all)) == 0 })
	for _, name := range all {
		if pids := records(t, folder, name+".pids", 1); len(pids) != lives {
			t.Errorf("%s was started %d times in %d lives of the node", name, len(pids), lives)
		}
		if twice := records(t, folder, name+".twice", 1); len(twice) > 0 {
			t.Errorf("%s ran beside another of its kind: %v", name, twice)
		}
	}
}

// running are the processes of programs that still run.
func running(t *testing.T, folder string, names []string) (pids []string) {
	t.Helper()
	for _, name := range names {
		for _, pid := range records(t, folder, name+".pids", 1) {
			if alive(pid[0]) {
				pids = append(pids, pid[0])
			}
		}
	}
	return pids
}
