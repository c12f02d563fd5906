package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/internal/delivery"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	firstPause = 250 * time.Millisecond // between attempts at one message
	maxPause   = 5 * time.Second
	askAgain   = 5 * time.Second // what the node is told
	maxSaid    = 512             // of an answer that is kept
	maxHops    = 3
	// leastPatience is what a message gets for its turn, whatever retryFor says.
	leastPatience = 500 * time.Millisecond
)

// outcome is what an answer means.
type outcome int

const (
	taken    outcome = iota
	refused          // the message never will be taken
	mistaken         // the operator has to mend the settings
	failed           // the receiver failed, over this message as far as is known
	away             // the receiver takes nothing now
)

// answer is how one attempt ended.
type answer struct {
	outcome outcome
	text    string
	wait    time.Duration // that the receiver asks for
}

// post delivers a body, in as many attempts as there is time for. Its error tells
// the node what to do: InvalidArgument, a dead letter; plugins.Later, come again;
// Unavailable, come again but not for ever.
func (h *hook) post(ctx context.Context, id string, body []byte) error {
	began := time.Now()
	wait, cancel := h.patience(ctx)
	defer cancel()
	last := answer{outcome: away, text: "no attempt could be made: others go before it (settings rate, concurrency), or the receiver is away"}
	pause := firstPause
	for {
		a, err := h.turn(ctx, wait, id, body)
		if err != nil {
			break
		}
		switch last = a; a.outcome {
		case taken:
			return nil
		case refused:
			return status.Error(codes.InvalidArgument, a.text)
		case mistaken:
			return status.Error(codes.Unavailable, a.text)
		case failed:
			// Others may do better: only this one pauses.
			d := max(a.wait, pause/2+rand.N(pause))
			if pause = min(2*pause, maxPause); !sleep(wait, d) {
				return status.Error(codes.Unavailable, a.text)
			}
		}
		h.Logger.Debug("posting again", "message", id, "error", a.text)
	}
	if last.outcome == away && h.gate.Silent(began) {
		return plugins.Later(askAgain, "%s", last.text)
	}
	// Others were taken meanwhile: it may be this message.
	return status.Error(codes.Unavailable, last.text)
}

// patience is the time in which attempts at a message may begin.
func (h *hook) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	wait, cancel := context.WithTimeout(ctx, max(h.RetryFor.D(), leastPatience))
	go func() {
		select {
		case <-h.stopping:
			cancel()
		case <-wait.Done():
		}
	}()
	return wait, cancel
}

// turn makes one attempt when it is this message's turn; the error is that of
// wait.
func (h *hook) turn(ctx, wait context.Context, id string, body []byte) (answer, error) {
	select {
	case h.slots <- struct{}{}:
	case <-wait.Done():
		return answer{}, wait.Err()
	}
	defer func() { <-h.slots }()
	if err := h.limit.Wait(wait); err != nil {
		return answer{}, err
	}
	began, err := h.gate.Enter(wait)
	if err != nil {
		return answer{}, err
	}
	// Once begun an attempt has its own time.
	a := h.attempt(ctx, id, body)
	if err := ctx.Err(); err != nil && a.outcome == away {
		h.gate.Abandon() // the node has given the call up
		return answer{}, err
	}
	switch news := h.gate.Leave(began, a.outcome == away, a.wait); {
	case news && a.outcome == away:
		h.Logger.Warn("the receiver takes nothing now; messages wait for it", "error", a.text)
	case news:
		h.Logger.Info("the receiver takes messages again")
	}
	return a, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt posts once.
func (h *hook) attempt(ctx context.Context, id string, body []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout.D())
	defer cancel()
	req, err := h.request(ctx, id, body)
	if err != nil {
		return answer{outcome: mistaken, text: err.Error()}
	}
	resp, err := h.client.Do(req)
	if err != nil {
		// The URL stays out of what is said: it may hold a secret.
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return answer{outcome: away, text: fmt.Sprintf("post: %v", err)}
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxSaid))
	a := classify(resp.StatusCode, said)
	a.wait = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	// What is left unread would cost the connection.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	return a
}

func (h *hook) request(ctx context.Context, id string, body []byte) (*http.Request, error) {
	target, err := h.target()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, h.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("make request: the url is not valid")
	}
	req.Header.Set("Content-Type", h.ContentType)
	req.Header.Set("User-Agent", "epmesh-webhook")
	if h.IdempotencyHeader != "" && id != "" {
		req.Header.Set(h.IdempotencyHeader, delivery.Line(id, 256))
	}
	for name, value := range h.Headers {
		req.Header.Set(name, value)
	}
	for name, file := range h.HeaderFiles {
		value, err := delivery.ReadSecret(file)
		if err != nil {
			return nil, fmt.Errorf("headerFiles.%s: %w", name, err)
		}
		req.Header.Set(name, value)
	}
	return req, h.Signature.sign(req.Header, body, time.Now())
}

// classify says what an answer means for the message.
func classify(code int, said []byte) answer {
	a := answer{text: fmt.Sprintf("receiver answered %d %s", code, http.StatusText(code))}
	if len(said) > 0 {
		a.text += ": " + delivery.Line(string(said), maxSaid)
	}
	switch {
	case code >= 200 && code < 300:
		a.outcome = taken
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests,
		code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		a.outcome = away
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound, code == http.StatusProxyAuthRequired,
		code >= 300 && code < 400:
		// A wrong token or path is mended by the operator, not by the message.
		a.outcome = mistaken
		a.text += ": check url and headerFiles"
	case code >= 500 && code != http.StatusNotImplemented:
		a.outcome = failed
	default:
		a.outcome = refused
	}
	return a
}

// retryAfter reads the header, seconds or a date. The gate bounds what it says.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// client connects as the settings say.
func (s Settings) client() (*http.Client, error) {
	config, err := s.TLS.Config()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	transport.MaxIdleConnsPerHost = s.Concurrency
	transport.IdleConnTimeout = 30 * time.Second
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.Proxy = func(*http.Request) (*url.URL, error) { return s.proxy() }
	return &http.Client{Transport: transport, CheckRedirect: follow}, nil
}

// follow lets a post be repeated at another path of the same server, where the
// server asks for that. Elsewhere it would repeat the message, and the secrets
// of its headers, to somebody else; as a GET it would be lost.
func follow(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxHops || req.Method != first.Method || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}
