package bridge

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

// ServerFiles are what a cluster of NATS servers of somebody's own needs to keep
// epmesh's streams: a configuration for each server, and for each user a context
// file as nats.context and the nats command read it. Passwords are random.
type ServerFiles struct {
	// Servers are the hosts of the cluster, under which they reach each other and
	// clients reach them. One makes no cluster.
	Servers []string
	// Store is where each server keeps its streams, on its own machine.
	Store string
	// Sync is when it writes them to disk: "always", or an interval such as 2m.
	Sync string
}

// externalPermissions are what a node may do at servers of somebody else's: what
// is named epmesh, and the JetStream API, whose subjects for consumers and
// streams the server does not tell apart further by user.
var externalPermissions = struct{ Publish, Subscribe []string }{
	Publish: append([]string{
		"epmesh.>", "$JS.API.>", "$JS.FC.>", "_INBOX.>", stateInbox + ".>",
		subjectState + ">", "$KV." + LeaseBucket + ".>", "$KV." + NodesBucket + ".>", "$KV." + ConfigBucket + ".>",
	}, ackSubjects()...),
	Subscribe: []string{"epmesh.>", "_INBOX.>", stateInbox + ".>"},
}

// ackSubjects are where what was taken from epmesh's streams is acknowledged.
func ackSubjects() []string {
	var list []string
	for _, s := range streams {
		list = append(list, "$JS.ACK."+s.name+".>")
	}
	return list
}

var serverTemplate = template.Must(template.New("").Funcs(template.FuncMap{"quote": strconv.Quote, "list": quoted}).Parse(
	`# Written by epmesh nats init. It holds passwords.
server_name: {{quote .Name}}
listen: "0.0.0.0:4222"
# Health and numbers, for this machine alone.
http: "127.0.0.1:8222"
max_payload: 8MB
# A client that is silently gone is noticed within this, three times.
ping_interval: "5s"
ping_max: 3
jetstream {
  store_dir: {{quote .Store}}
  sync_interval: {{.Sync}}
}
authorization {
  users: [
    {
      user: "node", password: {{quote .Node}}
      permissions {
        publish: [{{list .Publish}}]
        subscribe: [{{list .Subscribe}}]
      }
    }
    {
      user: "operator", password: {{quote .Operator}}
      permissions {
        publish: ["epmesh.>", "$JS.API.>", "$KV.EPMESH_CONFIG.>"]
        subscribe: ["epmesh.>", "_INBOX.>"]
      }
    }
  ]
}
{{- if .Routes}}
cluster {
  name: "epmesh"
  listen: "0.0.0.0:6222"
  authorization { user: "route", password: {{quote .Route}} }
  routes: [{{list .Routes}}]
}
{{- end}}
`))

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, strconv.Quote(s))
	}
	return strings.Join(out, ", ")
}

// ErrFilesThere says that WriteServerFiles has written to the folder before.
var ErrFilesThere = errors.New("there is such a set of files already")

// hostName is what may stand in a URL and as a file's name.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// WriteServerFiles writes <server>.conf for each server, node.json and
// operator.json into dir, mode 0600. The error is ErrFilesThere where node.json,
// which is written last, is there: new passwords would shut out who has the old
// ones.
func WriteServerFiles(dir string, f ServerFiles) error {
	if err := f.check(); err != nil {
		return err
	}
	last := filepath.Join(dir, "node.json")
	if _, err := os.Stat(last); err == nil {
		return fmt.Errorf("%s: %w", dir, ErrFilesThere)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("server files: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("server files: %w", err)
	}
	node, operator, route := rand.Text(), rand.Text(), rand.Text()
	var urls, routes []string
	for _, host := range f.Servers {
		urls = append(urls, "nats://"+net.JoinHostPort(host, "4222"))
		if len(f.Servers) > 1 {
			routes = append(routes, fmt.Sprintf("nats://route:%s@%s", route, net.JoinHostPort(host, "6222")))
		}
	}
	for _, host := range f.Servers {
		var text strings.Builder
		err := serverTemplate.Execute(&text, map[string]any{
			"Name": host, "Store": f.Store, "Sync": f.Sync, "Node": node, "Operator": operator, "Route": route, "Routes": routes,
			"Publish": externalPermissions.Publish, "Subscribe": externalPermissions.Subscribe,
		})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, host+".conf"), []byte(text.String()), 0o600)
		}
		if err != nil {
			return fmt.Errorf("server files: %w", err)
		}
	}
	for _, user := range []struct{ name, password string }{{"operator", operator}, {"node", node}} {
		data, err := json.MarshalIndent(map[string]string{
			"description": "epmesh's " + user.name, "url": strings.Join(urls, ","), "user": user.name, "password": user.password,
		}, "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, user.name+".json"), append(data, '\n'), 0o600)
		}
		if err != nil {
			return fmt.Errorf("server files: %w", err)
		}
	}
	return nil
}

func (f ServerFiles) check() error {
	if n := len(f.Servers); n != 1 && n != 3 && n != 5 {
		return fmt.Errorf("server files: %d servers: name 1, 3 or 5; an even number survives no more than one less", n)
	}
	seen := map[string]bool{}
	for _, host := range f.Servers {
		if !hostName.MatchString(host) {
			return fmt.Errorf("server files: %q is no host name or IPv4 address", host)
		}
		if seen[host] {
			return fmt.Errorf("server files: %q is named twice", host)
		}
		seen[host] = true
	}
	if !filepath.IsAbs(f.Store) {
		return fmt.Errorf("server files: the store %q is not an absolute path", f.Store)
	}
	if f.Sync != "always" && !regexp.MustCompile(`^[1-9][0-9]*[smh]$`).MatchString(f.Sync) {
		return fmt.Errorf(`server files: sync %q is neither "always" nor an interval such as 2m`, f.Sync)
	}
	return nil
}
