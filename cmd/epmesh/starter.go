package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/plugins/demo"
	"golang.org/x/sys/unix"
)

const (
	// starterFile is read before all files that a user is likely to write, so
	// that they win.
	starterFile = "00-epmesh-up.yaml"
	// starterMark is its first line, as long as it is ours to change.
	starterMark = "# Written by epmesh up, and written again whenever it starts."
)

// starter is the configuration that up runs with if there is no other.
type starter struct {
	Syslog  string // address, or empty for none
	Ingest  string // likewise, of the http plugin
	Archive bool
	Demo    bool
	Rate    float64 // logs a second of the demo
}

func (s starter) text() []byte {
	var b strings.Builder
	b.WriteString(starterMark + `
# To make it yours, delete these lines: then it stays as it is. Or write files of
# your own beside it: a plugin's settings in a later file replace those in here.
plugins:
`)
	if s.Syslog != "" {
		at := strconv.Quote(s.Syslog)
		fmt.Fprintf(&b, `  syslog:
    bundled: syslog
    listeners:
      - {listen: %s, network: udp, dataType: syslog}
      - {listen: %s, network: tcp, dataType: syslog}
`, at, at)
	}
	if s.Ingest != "" {
		fmt.Fprintf(&b, `  # Logs over HTTP: lines and JSON on /logs, or /logs/TYPE; OTLP on /v1/logs.
  ingest:
    bundled: http
    listeners:
      - listen: %s
        dataType: app
        paths: [{path: /logs}, {path: "/logs/{dataType}"}, {path: /v1/logs, format: otlp, sameBody: true}]
`, strconv.Quote(s.Ingest))
		if !loopback(s.Ingest) { // which somebody has asked for
			b.WriteString("        insecure: true\n")
		}
	}
	if s.Archive {
		b.WriteString(`  # Events and alerts in compressed files, by tenant and day.
  archive: {bundled: archive, keepBytes: 1000000000}
  output: {order: [archive]}
`)
	}
	if s.Demo {
		fmt.Fprintf(&b, `  # Made-up traffic; demo.yaml and rules/demo.yml say what is done with it.
  demo:
    bundled: demo
    rate: %s
`, strconv.FormatFloat(s.Rate, 'f', -1, 64))
	}
	b.WriteString(`  # Holds events against the rules in the folder rules.
  cel: {bundled: cel}
  # Groups alerts by their source and sends a message for each.
  incidents: {bundled: incidents}
  # Writes messages to the node's log. webhook posts them, email mails them.
  notify: {bundled: notify, topics: [incidents.new, incidents.update]}
  analysis: {order: [cel]}
  correlation: {order: [incidents]}
  notification: {order: [notify]}
`)
	return []byte(b.String())
}

// loopback reports whether an address is of this machine alone.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// workFolders are what a work dir has besides what the node makes; the user
// fills them.
var workFolders = []string{"pipeline", "rules", "sockets", "plugins", "geolocation", "logs"}

// prepareDir makes the work dir.
func prepareDir(dir string) error {
	for _, name := range append([]string{""}, workFolders...) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o750); err != nil {
			return fmt.Errorf("make the work dir: %w; name another with --work-dir", err)
		}
	}
	return nil
}

// lay puts the starter's files into a work dir. Of a user's files it changes
// none; the first of its own it keeps up to date.
func (s starter) lay(ctx context.Context, settings config.Settings) error {
	file := filepath.Join(settings.PipelineDir(), starterFile)
	old, err := os.ReadFile(file)
	ours := bytes.HasPrefix(old, []byte(starterMark))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("starter configuration: %w", err)
	}
	if text := s.text(); err != nil || ours && !bytes.Equal(old, text) {
		if err := config.WriteFile(ctx, settings.PipelineDir(), starterFile, text); err != nil {
			return fmt.Errorf("starter configuration: %w", err)
		}
	}
	if !s.Demo {
		return nil
	}
	if err := layDemo(ctx, settings); err != nil {
		return fmt.Errorf("demo configuration: %w", err)
	}
	return nil
}

// layDemo puts the demo's pipeline and rules where they are not there yet.
func layDemo(ctx context.Context, settings config.Settings) error {
	return fs.WalkDir(demo.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		to := filepath.Join(settings.Dir, filepath.FromSlash(name))
		if _, err := os.Lstat(to); err == nil {
			return nil
		}
		text, err := fs.ReadFile(demo.Files(), name)
		if err != nil {
			return err
		}
		if folder, file := path.Split(name); folder == "pipeline/" {
			return config.WriteFile(ctx, settings.PipelineDir(), file, text)
		}
		// Rules are read again when they change; written beside and renamed, one
		// is never seen in part.
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(to+".new", text, 0o640); err != nil {
			return err
		}
		return os.Rename(to+".new", to)
	})
}

// inUse says which node runs in a work dir, if one does. It looks at the lock
// that a node holds as long as it lives.
func inUse(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "run", "node.lock"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("work dir lock: %w; was it made by another user?", err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return nil // closing lets go of it; what else is wrong the node will say
	}
	return fmt.Errorf("a node runs in %s already: look at it with epmesh status, stop it, or give this one another --work-dir", dir)
}
