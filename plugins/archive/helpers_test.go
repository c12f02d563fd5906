package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/plugins"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/tidwall/gjson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type values map[string]any

func build(t testing.TB, v values) *archive {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(plugins.Instance{Name: "archive", Dir: t.TempDir(), Host: "n1", Logger: hclog.NewNullLogger(), Config: gjson.ParseBytes(text)})
	if err != nil {
		t.Fatal(err)
	}
	a := r.(*archive)
	a.node = "n1"
	return a
}

// opened is an archive that is ready for calls and closed at the end.
func opened(t testing.TB, v values) *archive {
	t.Helper()
	a := build(t, v)
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if a.w != nil {
			shut(t, a)
		}
	})
	return a
}

func shut(t testing.TB, a *archive) {
	t.Helper()
	if err := a.close(); err != nil {
		t.Error(err)
	}
	a.w = nil
}

func event(i int, tenant string) *pb.Event {
	return &pb.Event{
		Id: fmt.Sprint("e", i), Timestamp: time.Now().UTC().Format(time.RFC3339), TenantId: tenant, DataType: "linux",
		Raw: fmt.Sprintf("line %d: Failed password for root from 203.0.113.%d port 4%04d ssh2", i, i%250, i%10000),
	}
}

// files are those below the archive's folder, by name.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if rel, _ := filepath.Rel(dir, name); !d.IsDir() && !strings.HasPrefix(rel, ".lock") {
			list = append(list, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(list)
	return list
}

// lines reads a file by the libraries' own readers, which take the frames as one
// stream, as zstdcat and zcat do.
func lines(t testing.TB, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader
	if strings.HasSuffix(name, gzipSuffix) {
		if r, err = gzip.NewReader(bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	} else {
		d, err := zstd.NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		r = d
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(all) > 0 && all[len(all)-1] != '\n' {
		t.Errorf("%s ends within a line", name)
	}
	var list []string
	for line := range strings.Lines(string(all)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%s: no JSON: %q", name, line)
		}
		list = append(list, strings.TrimSuffix(line, "\n"))
	}
	return list
}

// ids counts the lines of all files by their id.
func ids(t testing.TB, dir string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, name := range files(t, dir) {
		if strings.HasSuffix(name, manifestSuffix) {
			continue
		}
		for _, line := range lines(t, filepath.Join(dir, name)) {
			count[gjson.Get(line, "id").Str]++
		}
	}
	return count
}

// isLater reports whether the node is told that the item is not to blame.
func isLater(err error) bool {
	return status.Code(err) == codes.Unavailable && len(status.Convert(err).Details()) == 1
}
