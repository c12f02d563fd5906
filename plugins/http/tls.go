package httpin

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
)

// certificates are a listener's, as they hold now. Safe for concurrent use.
type certificates struct {
	settings tlsSettings
	held     atomic.Pointer[tls.Config]
}

// load reads the files. With an error what was held before goes on to hold.
func (c *certificates) load() error {
	pair, err := tls.LoadX509KeyPair(c.settings.Cert, c.settings.Key)
	if err != nil {
		return fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if c.settings.ClientCA != "" {
		pem, err := os.ReadFile(c.settings.ClientCA)
		if err != nil {
			return fmt.Errorf("tls.clientCA: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("tls.clientCA: %s holds no certificate in PEM", c.settings.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.held.Store(config)
	return nil
}

// server is the configuration that each handshake looks up what holds with. A
// session that is resumed is verified against what holds then, too: tickets are
// of the configuration that made them.
func (c *certificates) server() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.held.Load(), nil },
	}
}

func (c *certificates) files() []string {
	names := []string{c.settings.Cert, c.settings.Key}
	if c.settings.ClientCA != "" {
		names = append(names, c.settings.ClientCA)
	}
	return names
}
