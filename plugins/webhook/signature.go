package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
)

// scheme begins a signature, so that another may follow one day.
const scheme = "v1="

// sign sets the headers of a signature, if there is to be one. The secret is
// read for each, so that it may be replaced.
func (s Signature) sign(header http.Header, body []byte, now time.Time) error {
	if s.SecretFile == "" {
		return nil
	}
	secret, err := delivery.ReadSecret(s.SecretFile)
	if err != nil {
		return fmt.Errorf("signature.secretFile: %w", err)
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	header.Set(s.TimestampHeader, timestamp)
	header.Set(s.Header, scheme+hex.EncodeToString(mac(secret, timestamp, body)))
	return nil
}

func mac(secret, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify is what a receiver does with the two headers and the body as it came:
// nil says that somebody who knows the secret made them no longer than tolerance
// ago. It takes constant time over the signature. Safe for concurrent use.
func Verify(secret, timestamp, signature string, body []byte, now time.Time, tolerance time.Duration) error {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("the timestamp is no number of seconds")
	}
	if age := now.Sub(time.Unix(seconds, 0)).Abs(); age > tolerance {
		return fmt.Errorf("the signature is %s away from now", age)
	}
	want := scheme + hex.EncodeToString(mac(secret, timestamp, body))
	if !hmac.Equal([]byte(want), []byte(signature)) {
		return errors.New("the signature does not match")
	}
	return nil
}
