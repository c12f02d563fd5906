package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	defaultSyslog = "127.0.0.1:5514"
	defaultIngest = "127.0.0.1:7481"
	// busyWait is how long a busy address is looked at again: the plugins of a
	// node that was killed end within moments.
	busyWait  = time.Second
	busyPause = 50 * time.Millisecond
	// portTries bounds the search for a port that is free twice.
	portTries = 50
)

// free reports whether a TCP address can be listened on now.
func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// freeOne finds a port that is free over TCP, and returns the address with it.
func freeOne(addr string) (string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%q is no address: write host:port, such as %s", addr, defaultIngest)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(host, port), errors.Join(err, l.Close())
}

// freeBoth finds a port that is free over TCP and UDP, and returns the address
// with it: port 0 stands for any.
func freeBoth(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%q is no address: write host:port, such as %s", addr, defaultSyslog)
	}
	for try := 1; ; try++ {
		bound, err := bindBoth(addr, host)
		if err == nil {
			return bound, nil
		}
		if port != "0" || try == portTries {
			return "", err
		}
	}
}

func bindBoth(addr, host string) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", err
	}
	bound := net.JoinHostPort(host, port)
	c, err := net.ListenPacket("udp", bound)
	if err != nil {
		return "", err
	}
	return bound, c.Close()
}

// anyPort is the address with port 0.
func anyPort(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return net.JoinHostPort(host, "0")
}

// logAddress is where a bundled input of up listens.
type logAddress struct {
	name     string // of the flag, and for people
	standard string
	find     func(addr string) (string, error) // the address with a free port
}

var (
	syslogAddress = logAddress{"syslog", defaultSyslog, freeBoth}
	ingestAddress = logAddress{"ingest", defaultIngest, freeOne}
)

// choose finds the address to listen on. One that was asked for must be free; in
// place of the default another may be taken, and note says so.
func (l logAddress) choose(ctx context.Context, asked *string) (addr, note string, err error) {
	if asked != nil && *asked == "" {
		return "", "", nil
	}
	want := l.standard
	if asked != nil {
		want = *asked
	}
	for end := time.Now().Add(busyWait); ; {
		addr, err = l.find(want)
		if err == nil || time.Now().After(end) || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
		}
	}
	if err == nil || asked != nil {
		if err != nil {
			err = fmt.Errorf("%s cannot listen on %s: %w; give another address with --%s", l.name, want, err, l.name)
		}
		return addr, "", err
	}
	if addr, err = l.find(anyPort(want)); err != nil {
		return "", "", fmt.Errorf("%s finds no free port: %w; give an address with --%s", l.name, err, l.name)
	}
	return addr, moved(l.name, want, addr), nil
}

// choose keeps an address, unless it is the default and busy: then it is any
// port of that host, and note says so.
func choose(name, addr, standard string) (chosen, note string) {
	if addr != standard || free(addr) == nil {
		return addr, ""
	}
	return anyPort(addr), moved(name, addr, "")
}

func moved(name, from, to string) string {
	return fmt.Sprintf("%s: %s is in use, taking %s", name, from, cmp.Or(to, "a free port"))
}
