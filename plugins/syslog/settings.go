// Package syslog is the bundled input plugin that listens for syslog over UDP,
// TCP, TLS and Unix datagram sockets. The line goes on as it came; only what
// names its source and tells it from others is read from it, RFC 5424 or
// RFC 3164.
package syslog

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	Listeners []listener `json:"listeners"`
	// Tenant is of every log whose listener names none.
	Tenant string `json:"tenant"`
	// MaxLine is in bytes; a longer message is cut there, and counted.
	MaxLine int `json:"maxLine"`
	// MaxConnections bounds the TCP and TLS senders of one listener.
	MaxConnections int `json:"maxConnections"`
	// IdleTimeout closes a connection on which nothing came; 0s never does.
	IdleTimeout plugins.Duration `json:"idleTimeout"`
	// ReadAhead is how many messages of one connection may wait for the node
	// before no more is read from it.
	ReadAhead int `json:"readAhead"`
	// Queue is how many UDP messages may wait for the node before further ones
	// are dropped.
	Queue int `json:"queue"`
}

// listener is one address and what comes in on it.
type listener struct {
	// Listen is host:port or, for unixgram, the path of a socket.
	Listen  string `json:"listen"`
	Network string `json:"network"`
	// DataType is syslog if it is empty.
	DataType string `json:"dataType"`
	Tenant   string `json:"tenant"`
	// DataSource replaces what the header, the certificate or the address says.
	DataSource string `json:"dataSource"`
	// Framing of a stream: auto, counted or newline.
	Framing string `json:"framing"`
	// IDs says what a log's id is made from: auto, content or random.
	IDs string `json:"ids"`
	// Mode is of the unixgram socket, such as "0666".
	Mode string     `json:"mode"`
	TLS  tlsSetting `json:"tls"`
}

// tlsSetting is about a listener whose network is tls. All are files, which are
// read again when they change.
type tlsSetting struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// ClientCA holds the certificates that signed those of senders.
	ClientCA string `json:"clientCA"`
	// ClientAuth is required, optional or none; empty means required where there
	// is a clientCA.
	ClientAuth string `json:"clientAuth"`
	// AllowNames are the names that a sender's certificate may have: exact, or
	// "*." for any one label.
	AllowNames []string `json:"allowNames"`
	// PeerName takes the name of the certificate as the logs' dataSource.
	PeerName bool `json:"peerName"`
}

// maxMessage keeps a log within one message even if each second byte has to
// become a U+FFFD.
const maxMessage = 1900 << 10

func defaults() settings {
	return settings{
		MaxLine: 64 << 10, MaxConnections: 1024, IdleTimeout: plugins.Duration(10 * time.Minute), ReadAhead: 1024, Queue: 65536,
	}
}

// Defaults returns the plugin's settings as a struct with json tags, filled with
// their defaults. What a listener leaves out is network's own: dataType syslog,
// framing auto, ids auto, mode 0660.
func Defaults() any { return defaults() }

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return &server{Instance: i, settings: s}, nil
}

// check completes the listeners and says what is wrong.
func (s *settings) check() error {
	var errs []error
	if len(s.Listeners) == 0 {
		errs = append(errs, errors.New("listeners: at least one {listen, network, dataType} is needed"))
	}
	for i := range s.Listeners {
		s.Listeners[i].check(func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("listeners[%d]."+format, append([]any{i}, args...)...))
		})
	}
	if s.MaxLine < 480 || s.MaxLine > maxMessage {
		errs = append(errs, fmt.Errorf("maxLine: is %d, want 480 to %d bytes", s.MaxLine, maxMessage))
	}
	if s.MaxConnections < 1 || s.MaxConnections > 65536 {
		errs = append(errs, fmt.Errorf("maxConnections: is %d, want 1 to 65536", s.MaxConnections))
	}
	if s.IdleTimeout < 0 {
		errs = append(errs, fmt.Errorf("idleTimeout: is %s, want 0s or more", s.IdleTimeout))
	}
	if s.ReadAhead < 1 || s.ReadAhead > 4096 {
		errs = append(errs, fmt.Errorf("readAhead: is %d, want 1 to 4096 messages", s.ReadAhead))
	}
	if s.Queue < 1 || s.Queue > 1<<20 {
		errs = append(errs, fmt.Errorf("queue: is %d, want 1 to %d", s.Queue, 1<<20))
	}
	return errors.Join(errs...)
}

func (l *listener) check(wrong func(format string, args ...any)) {
	fill := func(at *string, text string) {
		if *at == "" {
			*at = text
		}
	}
	fill(&l.DataType, "syslog")
	fill(&l.Framing, "auto")
	fill(&l.IDs, "auto")
	fill(&l.Mode, "0660")
	stream := l.Network == "tcp" || l.Network == "tls"
	switch l.Network {
	case "udp", "tcp", "tls":
		if _, _, err := net.SplitHostPort(l.Listen); err != nil {
			wrong("listen: %q is no address: write host:port, such as 127.0.0.1:5514", l.Listen)
		}
	case "unixgram":
		if !filepath.IsAbs(l.Listen) || len(l.Listen) > 107 {
			wrong("listen: %q is no path for a socket: write an absolute one of at most 107 bytes, such as /run/epmesh/log", l.Listen)
		}
	default:
		wrong("network: is %q, want udp, tcp, tls or unixgram", l.Network)
	}
	if !slices.Contains([]string{"auto", "counted", "newline"}, l.Framing) {
		wrong("framing: is %q, want auto, counted or newline", l.Framing)
	}
	if l.Framing != "auto" && !stream {
		wrong("framing: is %q, and %s has no frames: leave it out", l.Framing, l.Network)
	}
	if !slices.Contains([]string{"auto", "content", "random"}, l.IDs) {
		wrong("ids: is %q, want auto, content or random", l.IDs)
	}
	if m, err := strconv.ParseUint(l.Mode, 8, 32); err != nil || m > 0o777 {
		wrong("mode: is %q, want octal digits in quotes, such as \"0666\"", l.Mode)
	}
	l.TLS.check(l.Network == "tls", wrong)
}

func (t *tlsSetting) check(used bool, wrong func(format string, args ...any)) {
	if !used {
		if t.Cert != "" || t.Key != "" || t.ClientCA != "" || t.ClientAuth != "" || len(t.AllowNames) > 0 || t.PeerName {
			wrong("tls: is only for network tls")
		}
		return
	}
	if t.ClientAuth == "" {
		t.ClientAuth = "none"
		if t.ClientCA != "" {
			t.ClientAuth = "required"
		}
	}
	for name, path := range map[string]string{"cert": t.Cert, "key": t.Key, "clientCA": t.ClientCA} {
		if path == "" && (name != "clientCA" || t.ClientAuth != "none") {
			wrong("tls.%s: is empty: name a PEM file", name)
		} else if path != "" && !filepath.IsAbs(path) {
			wrong("tls.%s: %q must be absolute: a plugin's working directory is not yours", name, path)
		}
	}
	if !slices.Contains([]string{"required", "optional", "none"}, t.ClientAuth) {
		wrong("tls.clientAuth: is %q, want required, optional or none", t.ClientAuth)
	}
	if t.ClientAuth == "none" && (len(t.AllowNames) > 0 || t.PeerName || t.ClientCA != "") {
		wrong("tls: clientCA, allowNames and peerName need clientAuth required or optional")
	}
	if len(t.AllowNames) > 0 && t.ClientAuth == "optional" {
		wrong("tls.allowNames: needs clientAuth required: without a certificate there is no name to check")
	}
	for _, name := range t.AllowNames {
		if rest, _ := strings.CutPrefix(name, "*."); rest == "" || strings.Contains(rest, "*") {
			wrong("tls.allowNames: %q is no name: write it in full, or \"*.\" and a domain", name)
		}
	}
}
