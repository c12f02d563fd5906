package bridge

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// TLSFiles are one side of a TLS connection, as PEM files.
type TLSFiles struct {
	CA   string // whom to trust; "" is whom the system trusts
	Cert string // what to show, with Key; "" is nothing
	Key  string
}

// given reports whether any file is named.
func (f TLSFiles) given() bool { return f != TLSFiles{} }

// client is the configuration of a side that connects, or nil where no file is
// named.
func (f TLSFiles) client() (*tls.Config, error) {
	if !f.given() {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pool, err := readCA(f.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if f.Cert != "" || f.Key != "" {
		if _, err := f.pair(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.pair() }
	}
	return c, nil
}

// mutual is the configuration of a server whose other side has to show a
// certificate of the same CA; it serves for connecting to such servers too.
func (f TLSFiles) mutual() (*tls.Config, error) {
	if f.CA == "" || f.Cert == "" || f.Key == "" {
		return nil, errors.New("tls: ca, cert and key are all needed where both sides are checked")
	}
	c, err := f.client()
	if err != nil {
		return nil, err
	}
	c.ClientCAs, c.ClientAuth = c.RootCAs, tls.RequireAndVerifyClientCert
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair() }
	return c, nil
}

// server is the configuration of a side that others connect to. With a CA they
// have to show a certificate of it.
func (f TLSFiles) server() (*tls.Config, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("tls: cert and key are needed where others connect")
	}
	c, err := f.client()
	if err != nil {
		return nil, err
	}
	if f.CA != "" {
		c.ClientCAs, c.ClientAuth = c.RootCAs, tls.RequireAndVerifyClientCert
	}
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair() }
	return c, nil
}

// pair reads the certificate anew for each handshake, so that a renewed one is
// used without a restart.
func (f TLSFiles) pair() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("tls certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	return &pair, nil
}

func readCA(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tls ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("tls ca %s: there is no certificate in it", file)
	}
	return pool, nil
}

// Expiry is when the first of the certificates in the files ends; zero where
// none is named.
func (f TLSFiles) Expiry() (time.Time, error) {
	var first time.Time
	for _, file := range []string{f.CA, f.Cert} {
		if file == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return first, fmt.Errorf("tls: %w", err)
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return first, fmt.Errorf("tls certificate %s: %w", file, err)
			}
			if first.IsZero() || c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
	}
	return first, nil
}
