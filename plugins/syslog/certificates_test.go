package syslog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/logbuffer"
	"github.com/epmesh/epmesh/plugins"
)

// logRecord is what an engine stores.
type logRecord = plugins.Log

// authority signs certificates in a folder of its own.
type authority struct {
	*testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{T: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// sign writes name.pem and name.key; it signs itself where there is no authority.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", private)
	c, err = x509.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	return c, key
}

// write replaces a file in one step, as a tool that renews certificates does.
func (a *authority) write(name, kind string, der []byte) {
	a.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(a.path(".new"), text, 0o600); err != nil {
		a.Fatal(err)
	}
	if err := os.Rename(a.path(".new"), a.path(name)); err != nil {
		a.Fatal(err)
	}
}

func (a *authority) server(name string) {
	a.sign(name, &x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

func (a *authority) client(name string, dns ...string) {
	a.sign(name, &x509.Certificate{DNSNames: dns, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// config is a sender's, with the certificate of that name.
func (a *authority) config(client string) *tls.Config {
	a.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	c.RootCAs.AddCert(a.cert)
	if client != "" {
		pair, err := tls.LoadX509KeyPair(a.path(client+".pem"), a.path(client+".key"))
		if err != nil {
			a.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// say sends a message and returns how the connection ended.
func say(t *testing.T, addr string, c *tls.Config, msg string) error {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, msg); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		return err
	}
	return nil
}

func TestTLS(t *testing.T) {
	a, strangers := newAuthority(t), newAuthority(t)
	a.server("server")
	a.client("good", "web-1.example.com")
	a.client("unlisted", "web-1.example.org")
	a.client("nameless")
	strangers.client("good", "web-1.example.com")
	listen := func(more string) (*world, string) {
		w, addrs := run(t, fmt.Sprintf(`{"listeners":[{"listen":"127.0.0.1:0","network":"tls","tls":{"cert":%q,"key":%q%s}}]}`,
			a.path("server.pem"), a.path("server.key"), more))
		return w, addrs["tls"]
	}
	ca := fmt.Sprintf(`,"clientCA":%q`, a.path("ca.pem"))

	w, addr := listen("")
	if err := say(t, addr, a.config(""), "5 hello<13>line\n"); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
	if got := fmt.Sprint(w.Raws()); got != "[hello <13>line]" {
		t.Errorf("stored %s", got)
	}
	old := a.config("")
	old.MaxVersion = tls.VersionTLS11
	if err := say(t, addr, old, "old\n"); err == nil {
		t.Error("TLS 1.1 was taken")
	}

	w, addr = listen(ca + `,"allowNames":["*.example.com"],"peerName":true`)
	if err := say(t, addr, a.config("good"), "<13>Nov 23 18:00:01 other-name app: text\n"); err != nil {
		t.Errorf("good: %v", err)
	}
	for name, c := range map[string]*tls.Config{"none": a.config(""), "unlisted": a.config("unlisted"), "nameless": a.config("nameless"), "another authority's": {
		RootCAs: a.config("").RootCAs, ServerName: "localhost", Certificates: strangers.config("good").Certificates,
	}} {
		if err := say(t, addr, c, "not to be taken\n"); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if s := w.Stored(); len(s) != 1 || s[0].DataSource != "web-1.example.com" {
		t.Errorf("stored %v", s)
	}
	w.stop()
	if len(w.out.Lines("connection reset: what of it is not stored has to be sent again")) == 0 {
		t.Error("no word of refused senders")
	}

	w, addr = listen(ca + `,"clientAuth":"optional","peerName":true`)
	if err := say(t, addr, a.config(""), "<13>without\n"); err != nil {
		t.Errorf("optional: %v", err)
	}
	if err := say(t, addr, a.config("nameless"), "<13>with\n"); err != nil {
		t.Errorf("optional: %v", err)
	}
	if s := w.Stored(); len(s) != 2 || s[0].DataSource != "127.0.0.1" || s[1].DataSource != "nameless" {
		t.Errorf("stored %v", s)
	}
}

// Certificates that were renewed are used from the next connection on; broken
// ones are left.
func TestCertificatesAreReloaded(t *testing.T) {
	a := newAuthority(t)
	a.server("server")
	out := new(logbuffer.Buffer)
	c, err := newCertificates(tlsSetting{Cert: a.path("server.pem"), Key: a.path("server.key"), ClientAuth: "none"}, plugins.NewLogger("s", out))
	if err != nil {
		t.Fatal(err)
	}
	first := c.newest()
	if err := os.WriteFile(a.path("server.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.newest() != first {
		t.Error("the files are looked at for each connection")
	}
	c.looked = c.looked.Add(-recheck)
	if c.newest() != first || len(out.Lines("changed certificates are not taken")) != 1 {
		t.Error("a broken certificate was taken, or passed over in silence")
	}
	a.server("server")
	c.looked = c.looked.Add(-recheck)
	if c.newest() == first || len(out.Lines("certificates have changed and are taken")) != 1 {
		t.Error("the new certificate is not taken")
	}
	if _, err := newCertificates(tlsSetting{Cert: "/nowhere", Key: "/nowhere"}, plugins.NewLogger("s", out)); err == nil || !strings.Contains(err.Error(), "tls.cert") {
		t.Errorf("no certificate: %v", err)
	}
}

func TestListenerSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"listen":":1","network":"tls"}`:                                                                                           "tls.cert: is empty",
		`{"listen":":1","network":"tls","tls":{"cert":"a","key":"/k"}}`:                                                             "tls.cert: \"a\" must be absolute",
		`{"listen":":1","network":"tls","tls":{"cert":"/a","key":"/k","clientAuth":"required"}}`:                                    "tls.clientCA: is empty",
		`{"listen":":1","network":"tls","tls":{"cert":"/a","key":"/k","clientAuth":"maybe","clientCA":"/c"}}`:                       "clientAuth: is \"maybe\"",
		`{"listen":":1","network":"tls","tls":{"cert":"/a","key":"/k","allowNames":["x"]}}`:                                         "need clientAuth",
		`{"listen":":1","network":"tls","tls":{"cert":"/a","key":"/k","clientCA":"/c","allowNames":["a.*"]}}`:                       "is no name",
		`{"listen":":1","network":"tls","tls":{"cert":"/a","key":"/k","clientCA":"/c","clientAuth":"optional","allowNames":["a"]}}`: "needs clientAuth required",
		`{"listen":":1","network":"tcp","tls":{"cert":"/a"}}`:                                                                       "only for network tls",
		`{"listen":":1","network":"tcp","framing":"lines"}`:                                                                         "framing: is \"lines\"",
		`{"listen":":1","network":"udp","framing":"counted"}`:                                                                       "has no frames",
		`{"listen":":1","network":"udp","ids":"always"}`:                                                                            "ids: is \"always\"",
		`{"listen":"log","network":"unixgram"}`:                                                                                     "no path for a socket",
		`{"listen":"/log","network":"unixgram","mode":"999"}`:                                                                       "mode: is \"999\"",
		`{"listen":":1","network":"udp","colour":"red"}`:                                                                            `unknown setting "colour"`,
	} {
		_, err := New(plugins.Instance{Name: "s", Config: parse(`{"listeners":[` + text + `]}`)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if d := Defaults().(settings); d.MaxLine != 65536 || d.ReadAhead != 1024 {
		t.Errorf("defaults: %+v", d)
	}
}
