package certs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A certificate is good for both sides, for its hosts and no others, and not
// beyond its CA.
func TestIssue(t *testing.T) {
	dir := t.TempDir()
	ca, err := MakeCA(dir, "test", 24*time.Hour, false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Issue(dir, "n1", []string{"n1", "10.0.0.1"}, 48*time.Hour, false)
	if err != nil {
		t.Fatal(err)
	}
	if p.Ends.After(ca.Ends) {
		t.Errorf("it ends %s, after its CA, %s", p.Ends, ca.Ends)
	}
	pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(ca.Cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	for host, good := range map[string]bool{"n1": true, "10.0.0.1": true, "n2": false, "10.0.0.2": false} {
		for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, KeyUsages: []x509.ExtKeyUsage{use}})
			if (err == nil) != good {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	if pair.Leaf.IsCA {
		t.Error("a node could make certificates")
	}
	for _, key := range []string{ca.Key, p.Key} {
		if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", key, info.Mode(), err)
		}
	}
}

// Certificates are not made by a key that is another CA's.
func TestForeignCAKey(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		if _, err := MakeCA(dir, "test", time.Hour, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(two, CAKeyFile), filepath.Join(one, CAKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Issue(one, "n1", nil, time.Hour, false); err == nil {
		t.Error("it was made")
	}
}
