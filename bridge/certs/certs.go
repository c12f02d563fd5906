// Package certs makes the certificates with which servers of a mesh know each
// other: a CA of its own, and one certificate a node.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names of the CA's files.
const (
	CAFile    = "ca.pem"
	CAKeyFile = "ca.key"
)

// Pair is a certificate that was made, and where.
type Pair struct {
	Cert  string    `json:"cert"` // file, mode 0644
	Key   string    `json:"key"`  // file, mode 0600
	Hosts []string  `json:"hosts,omitempty"`
	Ends  time.Time `json:"ends"`
}

// MakeCA makes a CA in dir, which is made where it is not there. Files that are
// there are an error unless force is set.
func MakeCA(dir, name string, lasts time.Duration, force bool) (Pair, error) {
	p := Pair{Cert: filepath.Join(dir, CAFile), Key: filepath.Join(dir, CAKeyFile)}
	key, template, err := begin(name, lasts)
	if err != nil {
		return p, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return p, p.finish(template, template, key, key, force)
}

// Issue makes a certificate of the CA in dir for a node that others reach by
// these hosts, names or addresses. It serves for both sides of a connection.
func Issue(dir, node string, hosts []string, lasts time.Duration, force bool) (Pair, error) {
	p := Pair{Cert: filepath.Join(dir, node+".pem"), Key: filepath.Join(dir, node+".key"), Hosts: hosts}
	if node == "" || strings.ContainsAny(node, "/\x00") || node+".pem" == CAFile {
		return p, fmt.Errorf("certificate: %q cannot be the name of a file beside the CA's", node)
	}
	ca, caKey, err := readCA(dir)
	if err != nil {
		return p, err
	}
	key, template, err := begin(node, lasts)
	if err != nil {
		return p, err
	}
	if template.NotAfter.After(ca.NotAfter) {
		template.NotAfter = ca.NotAfter // longer it would not be believed
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return p, p.finish(template, ca, key, caKey, force)
}

func begin(name string, lasts time.Duration) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("certificate serial: %w", err)
	}
	now := time.Now()
	return key, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"epmesh"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lasts), // clocks differ
	}, nil
}

// finish signs and writes. The key is written first: a certificate without its
// key is of no use to anybody.
func (p *Pair) finish(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey, force bool) error {
	p.Ends = template.NotAfter
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("certificate key: %w", err)
	}
	if !force {
		for _, file := range []string{p.Key, p.Cert} {
			if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("certificate: %s is there already; --force replaces it", file)
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(p.Key), 0o750); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if err := write(p.Key, "PRIVATE KEY", secret, 0o600); err != nil {
		return err
	}
	return write(p.Cert, "CERTIFICATE", der, 0o644)
}

// write replaces a file whole.
func write(file, kind string, der []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	err = errors.Join(f.Chmod(mode), pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

func readCA(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := readPEM(filepath.Join(dir, CAFile), "CERTIFICATE")
	if err != nil {
		return nil, nil, err
	}
	secret, err := readPEM(filepath.Join(dir, CAKeyFile), "PRIVATE KEY")
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, nil, fmt.Errorf("ca %s: %w", filepath.Join(dir, CAFile), err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(secret)
	if err != nil {
		return nil, nil, fmt.Errorf("ca key %s: it cannot be read", filepath.Join(dir, CAKeyFile))
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(ca.PublicKey) {
		return nil, nil, fmt.Errorf("ca key %s: it is not that of %s", filepath.Join(dir, CAKeyFile), CAFile)
	}
	return ca, key, nil
}

func readPEM(file, kind string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("ca: there is no %s: make it with epmesh cert ca", file)
	}
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("ca: %s holds no %s", file, strings.ToLower(kind))
	}
	return block.Bytes, nil
}
