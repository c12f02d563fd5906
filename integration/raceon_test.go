//go:build race

package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// raced tells that these tests and what they start run under the race detector.
const raced = true

// access is the line of a report about one of the two that race, and the function
// that did it.
var access = regexp.MustCompile(`(?m)^(?:Read|Write|Previous read|Previous write|Atomic \w+|Previous atomic \w+) .*:\n  (\S+)`)

// watchRaces has the processes that take the returned setting write what the
// detector finds, and fails the test where it is found in this project: a process
// that is killed cannot tell by its exit code.
func watchRaces(t *testing.T) string {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "race")
	t.Cleanup(func() {
		files, _ := filepath.Glob(prefix + ".*")
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			for report := range strings.SplitSeq(string(text), "==================\n") {
				for _, at := range access.FindAllStringSubmatch(report, -1) {
					if strings.HasPrefix(at[1], "github.com/epmesh/") || strings.HasPrefix(at[1], "main.") {
						t.Errorf("a race in a process that the test started:\n%s", report)
						break
					}
				}
			}
		}
	})
	return "GORACE=log_path=" + prefix
}
