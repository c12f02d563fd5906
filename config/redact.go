package config

import (
	"fmt"
	"net/url"
	"strings"
)

// Redacted is the settings without secrets, for logs and users.
func (s Settings) Redacted() Settings {
	s.NATS = s.NATS.Redacted()
	return s
}

// String is the redacted form, so that settings in a log line tell no secret.
func (s Settings) String() string {
	type plain Settings // without this method
	return fmt.Sprintf("%+v", plain(s.Redacted()))
}

// GoString is String.
func (s Settings) GoString() string { return s.String() }

// Redacted is the settings with what in the URLs is secret left out.
func (n NATS) Redacted() NATS {
	n.URL = redactURLs(n.URL)
	n.Leaf = n.Leaf.Redacted()
	return n
}

// Redacted is the settings with what in the URL is secret left out.
func (l Leaf) Redacted() Leaf {
	l.URL = redactURLs(l.URL)
	return l
}

// String is the redacted form.
func (l Leaf) String() string {
	type plain Leaf
	return fmt.Sprintf("%+v", plain(l.Redacted()))
}

// GoString is String.
func (l Leaf) GoString() string { return l.String() }

func redactURLs(text string) string {
	urls := strings.Split(text, ",")
	for i, u := range urls {
		u = strings.TrimSpace(u)
		// A comma within a password cuts it in two: then nothing can be shown.
		if strings.Contains(text, "@") && (!strings.Contains(u, "://") || !validURL(u, clientSchemes) && !validURL(u, hubSchemes)) {
			return "xxxxx"
		}
		urls[i] = redactURL(u)
	}
	return strings.Join(urls, ",")
}

// String is the redacted form.
func (n NATS) String() string {
	type plain NATS
	return fmt.Sprintf("%+v", plain(n.Redacted()))
}

// GoString is String.
func (n NATS) GoString() string { return n.String() }

// redactURL keeps scheme, user and host. A user without a password is a NATS
// token, so a secret too.
func redactURL(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return "xxxxx" // what is not understood may hold a secret anywhere
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "xxxxx")
	} else {
		u.User = url.User("xxxxx")
	}
	return u.String()
}

// hasSecret tells whether URLs hold a password or token.
func hasSecret(urls string) bool { return redactURLs(urls) != strings.ReplaceAll(urls, ", ", ",") }
