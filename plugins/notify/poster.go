package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
)

// poster posts messages to a URL.
type poster struct {
	settings
	log    hclog.Logger
	client *http.Client
}

func newPoster(s settings, log hclog.Logger) *poster {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &poster{settings: s, log: log, client: &http.Client{
		Transport: transport,
		// A redirect would repeat the secrets of the headers elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// posted is a message as it is posted. A body that is JSON is put in as it is.
type posted struct {
	ID        string `json:"id"`
	Timestamp string `json:"@timestamp"`
	Topic     string `json:"topic"`
	Message   any    `json:"message"`
}

// post delivers a message, in several attempts. Its error tells the node
// whether to come again: Unavailable where the receiver may take it later,
// InvalidArgument where it never will.
func (p *poster) post(ctx context.Context, m *pb.Message) error {
	out := posted{ID: m.Id, Timestamp: m.Timestamp, Topic: m.Topic, Message: m.Message}
	if json.Valid([]byte(m.Message)) {
		out.Message = json.RawMessage(m.Message)
	}
	body, err := json.Marshal(out)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "encode message: %v", err)
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		wait, err := p.attempt(ctx, m.Id, body)
		if err == nil || status.Code(err) != codes.Unavailable {
			return err
		}
		if attempt == p.Attempts {
			return err
		}
		p.log.Debug("posting again", "message", m.Id, "attempt", attempt, "error", err)
		// Spread, so that many that failed together do not come together.
		wait = min(max(wait, pause/2+rand.N(pause)), maxPause)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 2
	}
}

// attempt posts once. wait is what the receiver asks for.
func (p *poster) attempt(ctx context.Context, id string, body []byte) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout.D())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body))
	if err != nil {
		return 0, status.Error(codes.InvalidArgument, "make request: the url is not valid")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "epmesh-notify")
	req.Header.Set("Idempotency-Key", id)
	for name, value := range p.Headers {
		req.Header.Set(name, value)
	}
	for name, file := range p.HeaderFiles {
		value, err := readSecret(file)
		if err != nil {
			return 0, status.Errorf(codes.Unavailable, "read header %s: %v", name, err)
		}
		req.Header.Set(name, value)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		// The URL stays out of what is said: it may hold a secret.
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return 0, status.Errorf(codes.Unavailable, "post: %v", err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	return retryAfter(resp.Header.Get("Retry-After")), classify(resp.StatusCode, said)
}

// classify says what an answer means for the message.
func classify(code int, said []byte) error {
	text := fmt.Sprintf("receiver answered %d %s", code, http.StatusText(code))
	if len(said) > 0 {
		text += ": " + summary(string(bytes.ToValidUTF8(said, nil)))
	}
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests,
		code >= 500 && code != http.StatusNotImplemented:
		return status.Error(codes.Unavailable, text)
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound, code == http.StatusProxyAuthRequired:
		// A wrong token or path is mended by the operator, not by the message.
		return status.Error(codes.Unavailable, text+": check url and headerFiles")
	}
	return status.Error(codes.InvalidArgument, text)
}

// retryAfter reads the header in seconds; its other form, a date, is rare and
// taken as nothing said.
func retryAfter(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxPause)
}
