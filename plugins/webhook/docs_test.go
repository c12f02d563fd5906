package webhook

import (
	"os"
	"regexp"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/hashicorp/go-hclog"
)

// The page's example is taken, for each plugin in it.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/plugins/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(plugins:.*?)```").FindSubmatch(text)
	if example == nil {
		t.Fatal("no example")
	}
	dir := shortdir.New(t)
	if err := config.WriteFile(t.Context(), dir+"/pipeline", "a.yaml", example[1]); err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^  (\w+):\n    bundled: webhook$`).FindAllSubmatch(example[1], -1)
	if len(names) == 0 {
		t.Fatal("no plugin in the example")
	}
	for _, m := range names {
		name := string(m[1])
		i := plugins.Instance{Name: name, Dir: dir, Host: "n1", Logger: hclog.NewNullLogger(), Config: plugins.SettingsOf(plugins.LoadConfig(dir), name)}
		if _, err := New(i); err != nil {
			t.Error(err)
		}
	}
}
