package main

import (
	"net"
	"strings"
	"testing"
)

func busy(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestChoose(t *testing.T) {
	taken := busy(t, "tcp")
	for _, c := range []struct{ name, addr, standard, want string }{
		{"busy default", taken, taken, "127.0.0.1:0"},
		{"busy and asked for", taken, "127.0.0.1:1", taken},
		{"off", "", "127.0.0.1:1", ""},
		{"free default", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, note := choose("http", c.addr, c.standard)
			if got != c.want || (note != "") != (c.name == "busy default") {
				t.Errorf("got %q, %q", got, note)
			}
		})
	}
}

func TestChooseSyslog(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		taken := busy(t, network)
		if _, _, err := syslogAddress.choose(t.Context(), &taken); err == nil || !strings.Contains(err.Error(), "--syslog") {
			t.Errorf("%s: a busy address that was asked for: %v", network, err)
		}
	}
	any := "127.0.0.1:0"
	addr, note, err := syslogAddress.choose(t.Context(), &any)
	if err != nil || note != "" || strings.HasSuffix(addr, ":0") || !strings.HasPrefix(addr, "127.0.0.1:") {
		t.Errorf("got %q, %q, %v", addr, note, err)
	}
	off := ""
	if addr, _, err := syslogAddress.choose(t.Context(), &off); err != nil || addr != "" {
		t.Errorf("got %q, %v", addr, err)
	}
	wrong := "5514"
	if _, _, err := syslogAddress.choose(t.Context(), &wrong); err == nil {
		t.Error("no error for an address without a port")
	}
}

func TestNextCommand(t *testing.T) {
	for _, c := range []struct{ self, dir, want string }{
		{"epmesh", "", "epmesh COMMAND"},
		{"./epmesh", "/w", "./epmesh COMMAND --work-dir /w"},
		{"/tmp/go-build1/b001/exe/epmesh", "", "go run ./cmd/epmesh COMMAND"},
	} {
		if got := nextCommand(c.self, c.dir); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
