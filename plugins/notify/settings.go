// Package notify is the bundled notification plugin: it writes each message as
// one readable line to the node's log, or posts it as JSON to a URL.
package notify

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	// Topics are what the plugin is given; empty means all that plugins send.
	// The node reads it too: the engine's own topics come only if they are named.
	Topics []string `json:"topics"`
	// URL is where messages are posted; without it they are written to the log.
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	// HeaderFiles name files whose content is a header's value: a token, which
	// has no place in the configuration. They are read for each attempt, so that
	// a token may be replaced.
	HeaderFiles map[string]string `json:"headerFiles"`
	Timeout     plugins.Duration  `json:"timeout"`  // of one attempt
	Attempts    int               `json:"attempts"` // before the node is told to come again later
}

// New makes the plugin from its settings.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := settings{Timeout: plugins.Duration(5 * time.Second), Attempts: 3}
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	n := &notifier{Instance: i, settings: s, deliver: printer{i.Logger}.print}
	if s.URL != "" {
		n.deliver = newPoster(s, i.Logger).post
	}
	return n, nil
}

func (s settings) check() error {
	var errs []error
	if s.URL == "" {
		if len(s.Headers)+len(s.HeaderFiles) > 0 {
			errs = append(errs, errors.New("headers and headerFiles: need a url"))
		}
	} else if u, err := url.Parse(s.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// The URL is not repeated: it may hold a secret.
		errs = append(errs, errors.New("url: want an absolute URL that begins with http:// or https://"))
	}
	for name, value := range s.Headers {
		if !validHeader(name, value) {
			errs = append(errs, fmt.Errorf("headers: %q is no valid header", name))
		}
	}
	for name, file := range s.HeaderFiles {
		if !validHeader(name, "") {
			errs = append(errs, fmt.Errorf("headerFiles: %q is no valid header", name))
		} else if _, err := readSecret(file); err != nil {
			errs = append(errs, fmt.Errorf("headerFiles.%s: %w", name, err))
		}
	}
	if s.Timeout.D() < 100*time.Millisecond || s.Timeout.D() > time.Minute {
		errs = append(errs, fmt.Errorf("timeout: is %s, want 100ms to 1m", s.Timeout))
	}
	if s.Attempts < 1 || s.Attempts > 10 {
		errs = append(errs, fmt.Errorf("attempts: is %d, want 1 to 10", s.Attempts))
	}
	return errors.Join(errs...)
}

func validHeader(name, value string) bool {
	return name != "" && !strings.ContainsAny(name, " \t\r\n:()<>@,;\\\"/[]?={}") && !strings.ContainsAny(value, "\r\n\x00") &&
		http.CanonicalHeaderKey(name) != "Content-Length"
}

// maxSecret bounds a header's file.
const maxSecret = 64 << 10

// readSecret reads a header's value from a file.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecret {
		return "", fmt.Errorf("%s is no file of at most %d bytes", path, maxSecret)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(text))
	if value == "" || strings.ContainsAny(value, "\r\n\x00") {
		return "", fmt.Errorf("%s holds no header's value: want one line", path)
	}
	return value, nil
}
