package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds a file of a secret, a template or certificates.
const maxFile = 1 << 20

// ReadSecret reads a one-line secret from a file.
func ReadSecret(path string) (string, error) {
	text, err := ReadFile(path)
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(text))
	if value == "" || strings.ContainsAny(value, "\r\n\x00") {
		return "", fmt.Errorf("%s holds no secret: want one line of text", path)
	}
	return value, nil
}

// ReadFile reads a file of bounded size.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is above %d bytes", path, maxFile)
	}
	return text, nil
}

// TLS are the settings of a client's TLS. The zero value verifies the server
// against the system's authorities.
type TLS struct {
	// CA is a PEM file of the authorities that are trusted instead of the
	// system's.
	CA string `json:"ca"`
	// Cert and Key are PEM files of the client's certificate.
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// ServerName is what the server's certificate must be for, where that is not
	// the host that is connected to.
	ServerName string `json:"serverName"`
}

// Config reads the files. Its errors name the setting below "tls". The client's
// certificate is read again for each connection, so that it may be replaced.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		text, err := ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM form", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("tls: cert and key belong together: set both or none")
	}
	if t.Cert != "" {
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			if err != nil {
				return nil, fmt.Errorf("read client certificate: %w", err)
			}
			return &pair, nil
		}
	}
	return c, nil
}
