package syslog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// recheck is the least time between two looks at the files of certificates.
const recheck = time.Second

// certificates makes the TLS side of a listener from its files, and again when
// they have changed. While they have a mistake, what was read before stays.
type certificates struct {
	tlsSetting
	log hclog.Logger

	mu     sync.Mutex
	looked time.Time
	stamp  string
	config *tls.Config
}

// newCertificates reads the files; they must be good at the start.
func newCertificates(s tlsSetting, log hclog.Logger) (*certificates, error) {
	c := &certificates{tlsSetting: s, log: log, stamp: s.stampOf(), looked: time.Now()}
	var err error
	if c.config, err = s.read(); err != nil {
		return nil, err
	}
	if info, err := os.Stat(s.Key); err == nil && info.Mode().Perm()&0o004 != 0 {
		log.Warn("everybody on this machine can read the key: chmod 640 it", "key", s.Key)
	}
	return c, nil
}

// server is the config of a listener: each handshake asks for the newest.
func (c *certificates) server() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.newest(), nil },
	}
}

func (c *certificates) newest() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < recheck {
		return c.config
	}
	c.looked = time.Now()
	stamp := c.stampOf()
	if stamp == c.stamp {
		return c.config
	}
	c.stamp = stamp
	config, err := c.read()
	if err != nil {
		c.log.Error("changed certificates are not taken", "error", err)
		return c.config
	}
	c.log.Info("certificates have changed and are taken")
	c.config = config
	return config
}

// stampOf changes when a file does.
func (s tlsSetting) stampOf() string {
	var b strings.Builder
	for _, path := range []string{s.Cert, s.Key, s.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprint(&b, info.ModTime().UnixNano(), info.Size(), ";")
		}
	}
	return b.String()
}

func (s tlsSetting) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		// A resumed session would outlive a change of the files.
		SessionTicketsDisabled: true,
	}
	if s.ClientAuth == "none" {
		return c, nil
	}
	text, err := os.ReadFile(s.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls.clientCA: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls.clientCA: %s holds no certificate in PEM", s.ClientCA)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if s.ClientAuth == "optional" {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	c.VerifyConnection = func(state tls.ConnectionState) error { return s.allowed(state.PeerCertificates) }
	return c, nil
}

// allowed refuses a certificate of which no name is in the list.
func (s tlsSetting) allowed(chain []*x509.Certificate) error {
	if len(s.AllowNames) == 0 {
		return nil
	}
	names := peerNames(chain)
	for _, name := range names {
		for _, want := range s.AllowNames {
			if nameMatches(want, name) {
				return nil
			}
		}
	}
	if len(names) == 0 {
		return errors.New("the certificate names nobody")
	}
	return fmt.Errorf("the certificate of %q is not in tls.allowNames", names[0])
}

// peerNames are the names of a verified certificate: its DNS names, or the common
// name where it has none.
func peerNames(chain []*x509.Certificate) []string {
	if len(chain) == 0 {
		return nil
	}
	if cert := chain[0]; len(cert.DNSNames) > 0 {
		return cert.DNSNames
	} else if cert.Subject.CommonName != "" {
		return []string{cert.Subject.CommonName}
	}
	return nil
}

func nameMatches(want, name string) bool {
	want, name = strings.ToLower(want), strings.ToLower(name)
	if domain, ok := strings.CutPrefix(want, "*."); ok {
		_, rest, found := strings.Cut(name, ".")
		return found && rest == domain
	}
	return want == name
}
