package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// check tells every value that cannot work, and every two that contradict each
// other. It also brings the log level into its one form.
func (l *loader) check() {
	s := &l.settings
	l.checkDir()
	l.word("node", s.Node)
	l.word("mode", s.Mode)
	l.word("default_tenant", s.Tenant)
	if len(s.Groups) == 0 {
		l.fail("groups", "write groups: [default]", "a node is in one group at least")
	}
	for _, g := range s.Groups {
		l.word("groups", g)
		if strings.Contains(g, ",") {
			l.fail("groups", "write each as an item of its own", "%q holds a comma", g)
		}
	}

	if name, ok := levelName(s.Log.Level); ok {
		s.Log.Level = name
	} else {
		l.fail("log.level", "", "%q is no level: use %s, or a number as LOG_LEVEL has it (100 debug, 200 info, 300 warn, 400 error)", s.Log.Level, levelNames())
	}
	if !slices.Contains([]string{"auto", "text", "json"}, s.Log.Format) {
		l.fail("log.format", "", "%q is no format: use auto, text or json", s.Log.Format)
	}

	l.address("http.listen", s.HTTP.Listen)
	l.checkNATS()
	l.checkBounds()
}

// checkBounds checks numbers, each by itself and against its neighbours.
func (l *loader) checkBounds() {
	s := &l.settings
	within := func(path string, v, least, most Size) bool {
		if v < least || v > most {
			l.fail(path, "", "%s is out of range: %s to %s", v, least, most)
			return false
		}
		return true
	}
	l.between("nats.replicas", s.NATS.Replicas, 1, 5)
	payload := within("nats.max_payload", s.NATS.MaxPayload, 64*KiB, 64*MiB)
	if s.NATS.MaxStore != 0 && s.NATS.MaxStore < MiB {
		l.fail("nats.max_store", "", "%s is out of range: at least %s, or 0 for no limit", s.NATS.MaxStore, MiB)
	}
	window := l.lasts("nats.duplicate_window", s.NATS.Duplicates, time.Second, 7*24*time.Hour)
	log := within("input.max_log", s.Input.MaxLog, KiB, 48*MiB)
	buffered := within("input.max_buffered", s.Input.MaxBuffered, 64*KiB, 64*GiB)
	l.between("stages.batch_items", s.Stages.BatchItems, 1, 65_536)
	batch := within("stages.batch_bytes", s.Stages.BatchBytes, KiB, 48*MiB)
	l.between("stages.attempts", s.Stages.Attempts, 1, 1000)
	wait := l.lasts("stages.ack_wait", s.Stages.AckWait, 100*time.Millisecond, time.Hour)
	l.between("plugins.in_flight", s.Plugins.InFlight, 1, 10_000)
	l.lasts("plugins.call_timeout", s.Plugins.CallTimeout, 10*time.Millisecond, time.Hour)
	message := within("plugins.max_message", s.Plugins.MaxMessage, 64*KiB, GiB)
	l.lasts("plugins.stop_grace", s.Plugins.StopGrace, 0, 10*time.Minute)
	first := l.lasts("plugins.restart_min", s.Plugins.RestartMin, 10*time.Millisecond, time.Hour)
	last := l.lasts("plugins.restart_max", s.Plugins.RestartMax, 10*time.Millisecond, 24*time.Hour)

	if first && last && s.Plugins.RestartMin > s.Plugins.RestartMax {
		l.clash("plugins.restart_min", "plugins.restart_max", "%s is longer than plugins.restart_max, %s", s.Plugins.RestartMin, s.Plugins.RestartMax)
	}
	if log && buffered && s.Input.MaxLog > s.Input.MaxBuffered {
		l.clash("input.max_log", "input.max_buffered", "a log of %s does not fit into input.max_buffered, %s", s.Input.MaxLog, s.Input.MaxBuffered)
	}
	if log && message && s.Input.MaxLog > s.Plugins.MaxMessage {
		l.clash("input.max_log", "plugins.max_message", "a log of %s does not fit into plugins.max_message, %s", s.Input.MaxLog, s.Plugins.MaxMessage)
	}
	if window && wait && s.NATS.Duplicates < s.Stages.AckWait {
		l.clash("nats.duplicate_window", "stages.ack_wait", "%s is shorter than stages.ack_wait, %s, so that repeated work could be stored twice", s.NATS.Duplicates, s.Stages.AckWait)
	}
	if !s.NATS.Embedded() || !payload {
		return // an external server has its own limit
	}
	const envelope = 16 * KiB // what is stored around an item
	if log && s.Input.MaxLog+envelope > s.NATS.MaxPayload {
		l.clash("input.max_log", "nats.max_payload", "a log of %s does not fit into nats.max_payload, %s, which also holds %s around it", s.Input.MaxLog, s.NATS.MaxPayload, envelope)
	}
	if batch && s.Stages.BatchBytes+envelope > s.NATS.MaxPayload {
		l.clash("stages.batch_bytes", "nats.max_payload", "a batch of %s does not fit into nats.max_payload, %s, which also holds %s around it", s.Stages.BatchBytes, s.NATS.MaxPayload, envelope)
	}
}

const (
	maxSocketPath = 107 // bytes of a Unix socket's path on Linux
	// The shortest name that one may hope to get by with, and the longest that
	// is common.
	shortPlugin = 8
	longPlugin  = len("com.utmstack.geolocation")
)

func (l *loader) checkDir() {
	dir := l.settings.Dir
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		l.fail("work_dir", "name a folder", "%s is no folder", dir)
	}
	around := len(filepath.Join(dir, "sockets")) + len("/") + len("_notification.sock")
	switch room := maxSocketPath - around; {
	case room < shortPlugin:
		l.fail("work_dir", fmt.Sprintf("use a path of at most %d bytes, such as /var/lib/epmesh", len(dir)-(longPlugin-room)),
			"the path has %d bytes, which leaves no room for the sockets of plugins: the system takes socket paths of at most %d bytes", len(dir), maxSocketPath)
	case room < longPlugin:
		at := l.from("work_dir")
		l.addAt(RuleBadSetting, at, Warning, "use a shorter path", "work_dir: only plugins with names of up to %d bytes can be served there: the system takes socket paths of at most %d bytes", room, maxSocketPath)
	}
}

// Schemes of URLs that clients connect to, and edges.
var (
	clientSchemes = []string{"nats", "tls", "ws", "wss"}
	hubSchemes    = []string{"nats-leaf", "nats", "tls"}
)

func validURL(text string, schemes []string) bool {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || !slices.Contains(schemes, u.Scheme) {
		return false
	}
	return u.Port() == "" || validPort(u.Port(), 1)
}

func validPort(text string, least int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= least && n <= 65_535
}

// address checks one to listen on. An empty one turns the listener off.
func (l *loader) address(path, text string) {
	if text == "" {
		return
	}
	host, port, err := net.SplitHostPort(text)
	switch {
	case err != nil:
		hint := "write host:port, such as 127.0.0.1:7480; an IPv6 host in brackets"
		if validPort(text, 0) {
			hint = "write 127.0.0.1:" + text + ", or :" + text + " for all addresses of the host"
		}
		l.fail(path, hint, "%q is no address to listen on", text)
	case !validPort(port, 0):
		l.fail(path, "a port is a number from 1 to 65535, or 0 for a free one", "%q has no valid port", text)
	case strings.ContainsFunc(host, unicode.IsSpace):
		l.fail(path, "", "%q has white space in the host", text)
	}
}

// word checks a name that ends up in environments, subjects and logs.
func (l *loader) word(path, text string) {
	if text == "" || len(text) > 255 || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		l.fail(path, "", "%q is no name: 1 to 255 characters, no white space", text)
	}
}

func (l *loader) between(path string, v, least, most int) {
	if v < least || v > most {
		l.fail(path, "", "%d is out of range: %d to %d", v, least, most)
	}
}

func (l *loader) lasts(path string, v, least, most time.Duration) bool {
	if v < least || v > most {
		l.fail(path, "", "%s is out of range: %s to %s", v, least, most)
		return false
	}
	return true
}

// from is where a setting was given.
func (l *loader) from(path string) Position {
	at := l.origin[path]
	if at.File == "" {
		at.File = "default"
	}
	return at
}

func (l *loader) fail(path, hint, format string, args ...any) {
	l.addAt(RuleBadSetting, l.from(path), Error, hint, path+": "+format, args...)
}

// clash reports two settings that exclude each other, at the one that was
// given.
func (l *loader) clash(path, other, format string, args ...any) {
	at := cmp.Or(l.origin[path], l.from(other))
	l.addAt(RuleBadSetting, at, Error, "change one of them", path+": "+format, args...)
}
