package email

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/hashicorp/go-hclog"
)

// The page's example is taken.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/plugins/email.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(plugins:.*?)```").FindSubmatch(text)
	if example == nil {
		t.Fatal("no example")
	}
	dir := shortdir.New(t)
	with := strings.Replace(string(example[1]), "    from:", "    username: epmesh\n    passwordFile: "+put(t, "password", "s3cret")+"\n    from:", 1)
	for _, text := range []string{string(example[1]), with} {
		if err := config.WriteFile(t.Context(), dir+"/pipeline", "a.yaml", []byte(text)); err != nil {
			t.Fatal(err)
		}
		i := plugins.Instance{Name: "mail", Dir: dir, Host: "n1", Logger: hclog.NewNullLogger(), Config: plugins.SettingsOf(plugins.LoadConfig(dir), "mail")}
		if _, err := New(i); err != nil {
			t.Error(err)
		}
	}
}
