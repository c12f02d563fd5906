package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/internal/delivery"
)

// Settings are plugins.<name> in the configuration.
type Settings struct {
	// Topics are what the plugin is given; empty means all that plugins send.
	// The node reads it too: the engine's own topics come only if they are named.
	Topics []string `json:"topics"`
	// URL is where messages are posted, or URLFile the file that holds it: the
	// addresses of Slack and Teams are secrets. The file is read for each attempt.
	URL     string `json:"url"`
	URLFile string `json:"urlFile"`
	Method  string `json:"method"`
	// Format is "json", "slack" or "teams". Template, or the file that
	// TemplateFile names, replaces the body of "json".
	Format       string `json:"format"`
	Template     string `json:"template"`
	TemplateFile string `json:"templateFile"`
	ContentType  string `json:"contentType"`
	// MaxBody bounds what is posted, in bytes.
	MaxBody int               `json:"maxBody"`
	Headers map[string]string `json:"headers"`
	// HeaderFiles name files whose content is a header's value. They are read for
	// each attempt, so that a token may be replaced.
	HeaderFiles map[string]string `json:"headerFiles"`
	// IdempotencyHeader carries the message's id; empty for none.
	IdempotencyHeader string    `json:"idempotencyHeader"`
	Signature         Signature `json:"signature"`
	// Timeout is of one attempt; RetryFor is how long a call tries before the node
	// is told to come again.
	Timeout  plugins.Duration `json:"timeout"`
	RetryFor plugins.Duration `json:"retryFor"`
	// Concurrency is how many are posted at once, Rate how many in a second; 0 is
	// no bound.
	Concurrency int     `json:"concurrency"`
	Rate        float64 `json:"rate"`
	// TLS is of the connection to an https URL.
	TLS delivery.TLS `json:"tls"`
	// Proxy is the URL of a proxy, or ProxyFile the file that holds it. The
	// environment names none: a plugin does not get the node's.
	Proxy     string `json:"proxy"`
	ProxyFile string `json:"proxyFile"`
}

// Signature is how a post is signed; without a secret it is not.
type Signature struct {
	SecretFile      string `json:"secretFile"`
	Header          string `json:"header"`
	TimestampHeader string `json:"timestampHeader"`
}

// Defaults are the settings where the configuration says nothing, as a Settings.
func Defaults() any { return defaults() }

func defaults() Settings {
	return Settings{
		Method: http.MethodPost, Format: formatJSON, ContentType: "application/json", MaxBody: 1 << 20,
		IdempotencyHeader: "Idempotency-Key",
		Signature:         Signature{Header: "X-Epmesh-Signature", TimestampHeader: "X-Epmesh-Timestamp"},
		Timeout:           plugins.Duration(10 * time.Second), RetryFor: plugins.Duration(20 * time.Second),
		Concurrency: 8,
	}
}

func (s Settings) check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case s.URL == "" && s.URLFile == "":
		add("url: is needed, or urlFile, a file that holds it")
	case s.URL != "" && s.URLFile != "":
		add("url and urlFile: want one of them")
	}
	if _, err := s.target(); err != nil && (s.URL != "" || s.URLFile != "") {
		errs = append(errs, err)
	}
	if _, err := s.proxy(); err != nil {
		errs = append(errs, err)
	}
	if s.Method != http.MethodPost && s.Method != http.MethodPut {
		add("method: is %q, want POST or PUT", s.Method)
	}
	if formats := []string{formatJSON, formatSlack, formatTeams}; !slices.Contains(formats, s.Format) {
		add("format: is %q, want %s", s.Format, strings.Join(formats, ", "))
	}
	if s.Template != "" && s.TemplateFile != "" {
		add("template and templateFile: want one of them")
	}
	if (s.Template != "" || s.TemplateFile != "") && s.Format != formatJSON {
		add("template: replaces the body of format: json; with format: %s want none", s.Format)
	}
	if s.ContentType == "" || !validHeader("Content-Type", s.ContentType) {
		add("contentType: %q is none", s.ContentType)
	}
	if s.Format != formatJSON && s.ContentType != "application/json" {
		add("contentType: %s takes application/json", s.Format)
	}
	if s.MaxBody < 1024 || s.MaxBody > 64<<20 {
		add("maxBody: is %d, want 1024 to %d bytes", s.MaxBody, 64<<20)
	}
	errs = append(errs, s.checkHeaders()...)
	if s.Timeout.D() < 100*time.Millisecond || s.Timeout.D() > time.Minute {
		add("timeout: is %s, want 100ms to 1m", s.Timeout)
	}
	if s.RetryFor.D() < 0 || s.RetryFor.D() > time.Hour {
		add("retryFor: is %s, want 0s to 1h, and below the node's plugins.call_timeout", s.RetryFor)
	}
	if s.Concurrency < 1 || s.Concurrency > 1000 {
		add("concurrency: is %d, want 1 to 1000", s.Concurrency)
	}
	if s.Rate < 0 || s.Rate > 100_000 || s.Rate > 0 && s.Rate < 0.001 {
		add("rate: is %g, want 0 for no bound, or 0.001 to 100000 messages a second", s.Rate)
	}
	if _, err := s.TLS.Config(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s Settings) checkHeaders() []error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for name, value := range s.Headers {
		if !validHeader(name, value) {
			add("headers: %q is no valid header", name)
		}
	}
	for name, file := range s.HeaderFiles {
		if !validHeader(name, "") {
			add("headerFiles: %q is no valid header", name)
		} else if _, err := delivery.ReadSecret(file); err != nil {
			add("headerFiles.%s: %w", name, err)
		}
	}
	if s.IdempotencyHeader != "" && !validHeader(s.IdempotencyHeader, "") {
		add("idempotencyHeader: %q is no valid header", s.IdempotencyHeader)
	}
	if !validHeader(s.Signature.Header, "") {
		add("signature.header: %q is no valid header", s.Signature.Header)
	}
	if !validHeader(s.Signature.TimestampHeader, "") || s.Signature.TimestampHeader == s.Signature.Header {
		add("signature.timestampHeader: %q is no valid header of its own", s.Signature.TimestampHeader)
	}
	if s.Signature.SecretFile != "" {
		if secret, err := delivery.ReadSecret(s.Signature.SecretFile); err != nil {
			add("signature.secretFile: %w", err)
		} else if len(secret) < 16 {
			add("signature.secretFile: the secret has %d characters, want at least 16", len(secret))
		}
	}
	return errs
}

// target is the URL, read from its file where it has one. The errors do not
// repeat it: it may hold a secret.
func (s Settings) target() (*url.URL, error) {
	return readURL("url", s.URL, s.URLFile, "http", "https")
}

// proxy is the proxy's URL, nil for none.
func (s Settings) proxy() (*url.URL, error) {
	if s.Proxy == "" && s.ProxyFile == "" {
		return nil, nil
	}
	if s.Proxy != "" && s.ProxyFile != "" {
		return nil, errors.New("proxy and proxyFile: want one of them")
	}
	return readURL("proxy", s.Proxy, s.ProxyFile, "http", "https", "socks5")
}

func readURL(setting, text, file string, schemes ...string) (*url.URL, error) {
	if file != "" {
		setting += "File"
		var err error
		if text, err = delivery.ReadSecret(file); err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
	}
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" {
		return nil, fmt.Errorf("%s: want an absolute URL that begins with %s://", setting, strings.Join(schemes, ":// or "))
	}
	return u, nil
}

func validHeader(name, value string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) &&
		!strings.ContainsAny(name, ":()<>@,;\\\"/[]?={}") && !strings.ContainsAny(value, "\r\n\x00") &&
		!slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Connection", "Host"}, http.CanonicalHeaderKey(name))
}
