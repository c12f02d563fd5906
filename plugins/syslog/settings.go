// Package syslog is the bundled input plugin that listens for syslog over UDP
// and TCP. The line goes on as it came; only the sender's host name is read from
// it, RFC 5424 or RFC 3164, to name the log's source.
package syslog

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	Listeners []listener `json:"listeners"`
	Tenant    string     `json:"tenant"`
	// MaxLine is in bytes; a longer message is cut there, and counted.
	MaxLine int `json:"maxLine"`
	// MaxConnections bounds the TCP senders of one listener.
	MaxConnections int `json:"maxConnections"`
	// IdleTimeout closes a TCP connection on which nothing came; 0s never does.
	IdleTimeout plugins.Duration `json:"idleTimeout"`
	// Queue is how many UDP messages may wait for the node before further ones
	// are dropped.
	Queue int `json:"queue"`
}

// listener is one address and what comes in on it.
type listener struct {
	Listen   string `json:"listen"`
	Network  string `json:"network"`
	DataType string `json:"dataType"`
}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := settings{MaxLine: 64 << 10, MaxConnections: 1024, IdleTimeout: plugins.Duration(10 * time.Minute), Queue: 65536}
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return &server{Instance: i, settings: s}, nil
}

func (s *settings) check() error {
	var errs []error
	if len(s.Listeners) == 0 {
		errs = append(errs, errors.New("listeners: at least one {listen, network, dataType} is needed"))
	}
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if l.DataType == "" {
			l.DataType = "syslog"
		}
		if l.Network != "udp" && l.Network != "tcp" {
			errs = append(errs, fmt.Errorf("listeners[%d].network: is %q, want udp or tcp", i, l.Network))
		}
		if _, _, err := net.SplitHostPort(l.Listen); err != nil {
			errs = append(errs, fmt.Errorf("listeners[%d].listen: %q is no address: write host:port, such as 127.0.0.1:5514", i, l.Listen))
		}
	}
	if s.MaxLine < 480 || s.MaxLine > 3<<20 {
		errs = append(errs, fmt.Errorf("maxLine: is %d, want 480 to %d bytes", s.MaxLine, 3<<20))
	}
	if s.MaxConnections < 1 {
		errs = append(errs, fmt.Errorf("maxConnections: is %d, want 1 or more", s.MaxConnections))
	}
	if s.IdleTimeout < 0 {
		errs = append(errs, fmt.Errorf("idleTimeout: is %s, want 0s or more", s.IdleTimeout))
	}
	if s.Queue < 1 || s.Queue > 1<<20 {
		errs = append(errs, fmt.Errorf("queue: is %d, want 1 to %d", s.Queue, 1<<20))
	}
	return errors.Join(errs...)
}
