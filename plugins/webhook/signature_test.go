package webhook

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/tidwall/gjson"
)

func TestVerify(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := Signature{SecretFile: put(t, "key", "0123456789abcdef"), Header: "S", TimestampHeader: "T"}
	h := http.Header{}
	if err := s.sign(h, []byte("body"), now); err != nil {
		t.Fatal(err)
	}
	// Computed by: printf '1800000000.body' | openssl dgst -sha256 -hmac 0123456789abcdef
	if want := "v1=5bd76f100f27f49e77c79325d595dfd23b686135f9039b91507f59b6a96087df"; h.Get("S") != want {
		t.Errorf("signature %s", h.Get("S"))
	}
	for _, tt := range []struct {
		secret, timestamp, signature, body string
		at                                 time.Time
		want                               string
	}{
		{"0123456789abcdef", h.Get("T"), h.Get("S"), "body", now.Add(4 * time.Minute), ""},
		{"0123456789abcdef", h.Get("T"), h.Get("S"), "body", now.Add(6 * time.Minute), "away from now"},
		{"0123456789abcdef", h.Get("T"), h.Get("S"), "body", now.Add(-6 * time.Minute), "away from now"},
		{"0123456789abcdef", h.Get("T"), h.Get("S"), "Body", now, "does not match"},
		{"0123456789abcdeF", h.Get("T"), h.Get("S"), "body", now, "does not match"},
		{"0123456789abcdef", "1800000001", h.Get("S"), "body", now, "does not match"},
		{"0123456789abcdef", "x", h.Get("S"), "body", now, "no number"},
		{"0123456789abcdef", h.Get("T"), "", "body", now, "does not match"},
	} {
		err := Verify(tt.secret, tt.timestamp, tt.signature, []byte(tt.body), tt.at, 5*time.Minute)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

const page = "../../docs/plugins/webhook.md"

func block(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s has no example in %s", page, language)
	}
	return string(m[1])
}

// The receiver in Python that the page shows takes what is signed here, and
// nothing else.
func TestDocumentedVerification(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	secret := put(t, "key", "0123456789abcdef")
	s := defaults().Signature
	s.SecretFile = secret
	h := http.Header{}
	body := []byte(`{"id":"m1","message":"ü"}`)
	if err := s.sign(h, body, time.Now()); err != nil {
		t.Fatal(err)
	}
	program := block(t, "python") + `
import sys
headers = {"X-Epmesh-Timestamp": sys.argv[2], "X-Epmesh-Signature": sys.argv[3]}
print(verify(open(sys.argv[1], "rb").read().strip(), headers, sys.stdin.buffer.read()))
`
	for _, tt := range []struct{ timestamp, signature, body, want string }{
		{h.Get(s.TimestampHeader), h.Get(s.Header), string(body), "True"},
		{h.Get(s.TimestampHeader), h.Get(s.Header), string(body) + " ", "False"},
		{"1800000000", h.Get(s.Header), string(body), "False"},
		{"soon", h.Get(s.Header), string(body), "False"},
	} {
		cmd := exec.Command(python, "-c", program, secret, tt.timestamp, tt.signature)
		cmd.Stdin = strings.NewReader(tt.body)
		out, err := cmd.CombinedOutput()
		if got := string(bytes.TrimSpace(out)); err != nil || got != tt.want {
			t.Errorf("%v: %s %v", tt, got, err)
		}
	}
}

// The page's templates are taken.
func TestDocumentedTemplate(t *testing.T) {
	text := block(t, "text")
	if _, err := New(plugins.Instance{Name: "n", Config: gjson.Parse(`{"url":"http://a.test","templateFile":"` + put(t, "t", text) + `"}`)}); err != nil {
		t.Error(err)
	}
}
