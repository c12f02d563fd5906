package email

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/internal/delivery"
)

// Settings are plugins.<name> in the configuration.
type Settings struct {
	// Topics are what the plugin is given; empty means all that plugins send.
	Topics []string `json:"topics"`
	// Server is host:port. Security is "starttls", "tls" from the first byte, or
	// "none".
	Server   string       `json:"server"`
	Security string       `json:"security"`
	TLS      delivery.TLS `json:"tls"`
	// Hello is what the client calls itself; empty for the machine's name.
	Hello string `json:"hello"`
	// Username and the password in PasswordFile log in, by Auth: "plain" or
	// "login". The file is read for each connection.
	Username     string `json:"username"`
	PasswordFile string `json:"passwordFile"`
	Auth         string `json:"auth"`
	// From, To and Cc are addresses, with names or without.
	From string   `json:"from"`
	To   []string `json:"to"`
	Cc   []string `json:"cc"`
	// Routes send some messages to others: the first that matches decides.
	Routes []Route `json:"routes"`
	// Subject, Text and HTML are templates, TextFile and HTMLFile files of such;
	// empty for those that are built in. Plain leaves the HTML out.
	Subject  string `json:"subject"`
	Text     string `json:"text"`
	TextFile string `json:"textFile"`
	HTML     string `json:"html"`
	HTMLFile string `json:"htmlFile"`
	Plain    bool   `json:"plain"`
	Digest   Digest `json:"digest"`
	// Timeout is of one mail; RetryFor is how long a call tries before the node
	// is told to come again.
	Timeout  plugins.Duration `json:"timeout"`
	RetryFor plugins.Duration `json:"retryFor"`
}

// Route says who gets the messages of some topics and severities; an empty list
// means all.
type Route struct {
	Topics     []string `json:"topics"`
	Severities []string `json:"severities"`
	To         []string `json:"to"`
	Cc         []string `json:"cc"`
}

// Digest gathers messages and mails them together.
type Digest struct {
	// Every is how long the first of them waits; 0 mails each by itself.
	Every plugins.Duration `json:"every"`
	// Max messages go out at once, however long they have waited.
	Max int `json:"max"`
	// Immediate are severities that do not wait.
	Immediate []string `json:"immediate"`
	// MaxKept and MaxKeptBytes bound what waits on the disk; what is more waits
	// in the node's stream.
	MaxKept      int   `json:"maxKept"`
	MaxKeptBytes int64 `json:"maxKeptBytes"`
}

const (
	securityStartTLS = "starttls"
	securityTLS      = "tls"
	securityNone     = "none"
	authPlain        = "plain"
	authLogin        = "login"
)

// Defaults are the settings where the configuration says nothing, as a Settings.
func Defaults() any { return defaults() }

func defaults() Settings {
	return Settings{
		Security: securityStartTLS, Auth: authPlain,
		Digest:  Digest{Max: 100, Immediate: []string{"critical"}, MaxKept: 10_000, MaxKeptBytes: 64 << 20},
		Timeout: plugins.Duration(15 * time.Second), RetryFor: plugins.Duration(10 * time.Second),
	}
}

func (s Settings) check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if host, port, err := net.SplitHostPort(s.Server); err != nil || host == "" || port == "" {
		add("server: is %q, want host:port, such as mail.example.com:587", s.Server)
	}
	if !slices.Contains([]string{securityStartTLS, securityTLS, securityNone}, s.Security) {
		add("security: is %q, want starttls, tls or none", s.Security)
	}
	if s.Security == securityNone && s.TLS != (delivery.TLS{}) {
		add("tls: has no meaning with security: none")
	}
	if _, err := s.TLS.Config(); err != nil {
		errs = append(errs, err)
	}
	if s.Hello == "" || strings.ContainsFunc(s.Hello, func(r rune) bool { return r <= ' ' || r > '~' }) {
		add("hello: is %q, want a host's name", s.Hello)
	}
	if (s.Username == "") != (s.PasswordFile == "") {
		add("username and passwordFile belong together: set both or none")
	}
	if s.Username != "" {
		if s.Security == securityNone {
			add("username: a password is not sent without TLS: set security to starttls or tls")
		}
		if _, err := delivery.ReadSecret(s.PasswordFile); s.PasswordFile != "" && err != nil {
			add("passwordFile: %w", err)
		}
	}
	if s.Auth != authPlain && s.Auth != authLogin {
		add("auth: is %q, want plain or login", s.Auth)
	}
	errs = append(errs, s.checkAddresses()...)
	if s.Text != "" && s.TextFile != "" || s.HTML != "" && s.HTMLFile != "" {
		add("text and textFile, html and htmlFile: want one of them")
	}
	if s.Plain && (s.HTML != "" || s.HTMLFile != "") {
		add("html: has no meaning with plain: true")
	}
	duration := func(name string, d plugins.Duration, least, most time.Duration) {
		if d.D() < least || d.D() > most {
			add("%s: is %s, want %s to %s", name, d, least, most)
		}
	}
	if s.Digest.Every != 0 {
		duration("digest.every", s.Digest.Every, time.Second, 24*time.Hour)
	}
	if s.Digest.Max < 1 || s.Digest.Max > 1000 {
		add("digest.max: is %d, want 1 to 1000", s.Digest.Max)
	}
	for _, name := range s.Digest.Immediate {
		if delivery.Rank(name) == 0 {
			add("digest.immediate: %q is no severity: want info, low, medium, high or critical", name)
		}
	}
	if s.Digest.MaxKept < s.Digest.Max || s.Digest.MaxKept > 1_000_000 {
		add("digest.maxKept: is %d, want digest.max (%d) to 1000000", s.Digest.MaxKept, s.Digest.Max)
	}
	if s.Digest.MaxKeptBytes < 8<<20 || s.Digest.MaxKeptBytes > 1<<30 {
		add("digest.maxKeptBytes: is %d, want %d to %d", s.Digest.MaxKeptBytes, 8<<20, 1<<30)
	}
	duration("timeout", s.Timeout, time.Second, 10*time.Minute)
	duration("retryFor", s.RetryFor, 0, time.Hour)
	return errors.Join(errs...)
}

func (s Settings) checkAddresses() []error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseAddress(s.From); err != nil {
		add("from: %w", err)
	}
	if len(s.To) == 0 {
		add("to: at least one address is needed")
	}
	list := func(name string, addresses []string) {
		if len(addresses) > 100 {
			add("%s: has %d addresses, want at most 100", name, len(addresses))
		}
		for _, a := range addresses {
			if _, err := parseAddress(a); err != nil {
				add("%s: %w", name, err)
			}
		}
	}
	list("to", s.To)
	list("cc", s.Cc)
	for i, r := range s.Routes {
		if len(r.To) == 0 {
			add("routes[%d].to: at least one address is needed", i)
		}
		list(fmt.Sprintf("routes[%d].to", i), r.To)
		list(fmt.Sprintf("routes[%d].cc", i), r.Cc)
		for _, name := range r.Severities {
			if delivery.Rank(name) == 0 {
				add("routes[%d].severities: %q is no severity: want info, low, medium, high or critical", i, name)
			}
		}
	}
	return errs
}

// parseAddress takes an address such as "Ops <ops@example.com>".
func parseAddress(text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no address", text)
	}
	if strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) || strings.ContainsFunc(a.Name, func(r rune) bool { return r < ' ' }) {
		return nil, fmt.Errorf("%q: want an address of plain ASCII", text)
	}
	return a, nil
}

// recipients are who a mail goes to.
type recipients struct{ to, cc []*mail.Address }

// key tells recipients apart.
func (r recipients) key() string { return header(r.to) + "\x00" + header(r.cc) }

// all are the addresses, each once.
func (r recipients) all() []string {
	var list []string
	for _, a := range slices.Concat(r.to, r.cc) {
		if !slices.Contains(list, a.Address) {
			list = append(list, a.Address)
		}
	}
	return list
}

// route says who gets a message.
func (s Settings) route(c delivery.Content) recipients {
	to, cc := s.To, s.Cc
	for _, r := range s.Routes {
		if matches(r.Topics, c.Topic) && (len(r.Severities) == 0 || hasSeverity(r.Severities, c.Severity)) {
			to, cc = r.To, r.Cc
			break
		}
	}
	return recipients{addresses(to), addresses(cc)}
}

func matches(list []string, value string) bool {
	return len(list) == 0 || slices.Contains(list, value)
}

func hasSeverity(list []string, severity string) bool {
	rank := delivery.Rank(severity)
	return rank > 0 && slices.ContainsFunc(list, func(s string) bool { return delivery.Rank(s) == rank })
}

// addresses were checked.
func addresses(list []string) []*mail.Address {
	var parsed []*mail.Address
	for _, text := range list {
		if a, err := parseAddress(text); err == nil {
			parsed = append(parsed, a)
		}
	}
	return parsed
}

// tlsConfig is that of a connection to the server.
func (s Settings) tlsConfig() (*tls.Config, error) {
	c, err := s.TLS.Config()
	if err != nil {
		return nil, err
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(s.Server)
	}
	return c, nil
}
