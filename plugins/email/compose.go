package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	"github.com/epmesh/epmesh/plugins/internal/delivery"
)

// mailID is a mail's Message-ID, made of the messages in it: the same messages
// make the same mail.
func mailID(keys []delivery.Key, from *mail.Address) string {
	h := sha256.New()
	for _, k := range keys {
		h.Write(k[:])
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	return "<" + hex.EncodeToString(h.Sum(nil)[:16]) + "@" + domain + ">"
}

// compose writes a mail: headers that no text can add to, and a body in
// quoted-printable, text and HTML as alternatives.
func compose(from *mail.Address, to recipients, id string, p parts, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	head := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	head("From", from.String())
	head("To", header(to.to))
	if len(to.cc) > 0 {
		head("Cc", header(to.cc))
	}
	head("Subject", subject(p.subject))
	head("Date", now.Format(time.RFC1123Z))
	head("Message-ID", id)
	head("Auto-Submitted", "auto-generated")
	head("X-Auto-Response-Suppress", "All")
	head("MIME-Version", "1.0")
	if p.html == "" {
		head("Content-Type", "text/plain; charset=utf-8")
		head("Content-Transfer-Encoding", "quoted-printable")
		b.WriteString("\r\n")
		if err := quoted(&b, p.text); err != nil {
			return nil, err
		}
		return b.Bytes(), nil
	}
	w := multipart.NewWriter(&b)
	// "=_" cannot be in quoted-printable.
	sum := sha256.Sum256([]byte(id))
	if err := w.SetBoundary("=_" + hex.EncodeToString(sum[:12])); err != nil {
		return nil, err
	}
	head("Content-Type", mime.FormatMediaType("multipart/alternative", map[string]string{"boundary": w.Boundary()}))
	b.WriteString("\r\n")
	for _, part := range []struct{ kind, text string }{{"text/plain", p.text}, {"text/html", p.html}} {
		out, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {part.kind + "; charset=utf-8"},
			"Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return nil, err
		}
		if err := quoted(out, part.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func quoted(w interface{ Write([]byte) (int, error) }, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := q.Write([]byte(text)); err != nil {
		return err
	}
	return q.Close()
}

// subject is a header's value of one line, in encoded words where it is more
// than plain letters, folded where it is long.
func subject(text string) string {
	text = delivery.Line(text, maxSubject)
	// What looks like an encoded word would be read as one.
	text = strings.ReplaceAll(text, "=?", "= ?")
	if text == "" {
		text = "(no subject)"
	}
	return mime.QEncoding.Encode("utf-8", text)
}

// header is a list of addresses as a header's value, each on a line of its own.
func header(list []*mail.Address) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",\r\n ")
}
