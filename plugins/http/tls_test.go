package httpin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// sign makes a certificate for 127.0.0.1 and client, and its key, in PEM.
func (a *authority) sign(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// replace puts a file in place as a whole.
func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	dir := t.TempDir()
	cert, key := ca.sign(t, "first")
	certFile, keyFile, caFile := dir+"/cert", dir+"/key", dir+"/ca"
	replace(t, certFile, cert)
	replace(t, keyFile, key)
	replace(t, caFile, ca.pem)
	tokenFile := writeFile(t, dir, "token", "first-token-0123456789")
	w := run(t, with(fmt.Sprintf(`"tls":{"cert":%q,"key":%q,"clientCA":%q}`, certFile, keyFile, caFile),
		fmt.Sprintf(`"reload":"20ms","tokens":[{"file":%q}]`, tokenFile)))

	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	// call makes one request on a connection of its own, and says who answered.
	call := func(by *authority, token string) (int, string, int, error) {
		config := &tls.Config{RootCAs: roots}
		if by != nil {
			c, k := by.sign(t, "client")
			pair, err := tls.X509KeyPair(c, k)
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequest(http.MethodPost, "https://"+w.address(0)+"/logs", strings.NewReader("line"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", asText)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			return 0, "", 0, err
		}
		resp.Body.Close()
		return resp.StatusCode, resp.TLS.PeerCertificates[0].Subject.CommonName, resp.ProtoMajor, nil
	}
	if status, name, version, err := call(ca, "first-token-0123456789"); status != 200 || name != "first" || version != 2 {
		t.Errorf("%d by %s over HTTP/%d, %v", status, name, version, err)
	}
	for _, by := range []*authority{nil, other} {
		if status, _, _, err := call(by, "first-token-0123456789"); err == nil {
			t.Errorf("a client with no certificate of ours was answered %d", status)
		}
	}

	// A key that does not fit leaves all as it was, until the certificate comes.
	cert, key = ca.sign(t, "second")
	replace(t, keyFile, key)
	w.Wait(t, "word of the wrong key", func() bool { return len(w.out.Lines("changed certificates are not taken, the old ones hold")) > 0 })
	if status, name, _, err := call(ca, "first-token-0123456789"); status != 200 || name != "first" {
		t.Errorf("with a wrong key: %d by %s, %v", status, name, err)
	}
	replace(t, certFile, cert)
	w.Wait(t, "the second certificate", func() bool { _, name, _, _ := call(ca, "first-token-0123456789"); return name == "second" })

	// Tokens: two hold side by side, then the new one alone; an empty file leaves it.
	replace(t, tokenFile, []byte("first-token-0123456789\nsecond-token-0123456789\n"))
	w.Wait(t, "the second token", func() bool { status, _, _, _ := call(ca, "second-token-0123456789"); return status == 200 })
	if status, _, _, _ := call(ca, "first-token-0123456789"); status != 200 {
		t.Errorf("the first token beside the second: %d", status)
	}
	replace(t, tokenFile, []byte("second-token-0123456789\n"))
	w.Wait(t, "the end of the first token", func() bool { status, _, _, _ := call(ca, "first-token-0123456789"); return status == 401 })
	replace(t, tokenFile, nil)
	w.Wait(t, "word of the empty file", func() bool { return len(w.out.Lines("changed tokens are not taken, the old ones hold")) > 0 })
	if status, _, _, _ := call(ca, "second-token-0123456789"); status != 200 {
		t.Errorf("the second token after an empty file: %d", status)
	}

	// The other authority's clients, once it is the one that is asked for.
	replace(t, caFile, other.pem)
	w.Wait(t, "the other authority", func() bool { status, _, _, _ := call(other, "second-token-0123456789"); return status == 200 })
	if _, _, _, err := call(ca, "second-token-0123456789"); err == nil {
		t.Error("a client of the authority before was answered")
	}
}

func TestTokenFilesOfEverybody(t *testing.T) {
	path := writeFile(t, t.TempDir(), "t", "0123456789abcdef")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readTokens(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a token file that all can read: %v", err)
	}
}
