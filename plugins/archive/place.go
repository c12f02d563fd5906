package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// place is the file that an item belongs to, but for its number.
type place struct {
	tenant string // the folder's name
	day    string // 2026/11/23
	kind   string
}

func (p place) folder() string { return p.tenant + "/" + p.day }

const (
	// noTenant is the folder of items without a tenant. No tenant's name is
	// written so.
	noTenant = "%none"
	maxName  = 64
)

// tenantFolder is a tenant's folder: letters, digits, "-" and "_" stay, every
// other byte is written as %XX, so that no name leads anywhere else and no two
// names share a folder. A long one keeps its beginning and a hash.
func tenantFolder(tenant string) string {
	if tenant == "" {
		return noTenant
	}
	return safeName(tenant)
}

func safeName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name) && b.Len() <= maxName; i++ {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() <= maxName {
		return b.String()
	}
	sum := sha256.Sum256([]byte(name))
	head := b.String()[:maxName-2*16-2]
	// A cut escape would be one of another name.
	if i := strings.LastIndexByte(head, '%'); i > len(head)-3 {
		head = head[:i]
	}
	return head + "%h" + hex.EncodeToString(sum[:16])
}

// day is the day of an item's file, in UTC.
func (s Settings) day(timestamp string, now time.Time) string {
	at := now
	if s.Day == byEvent {
		t, err := time.Parse(time.RFC3339Nano, timestamp)
		if err == nil && now.Sub(t) <= s.MaxPast.D() && t.Sub(now) <= s.MaxFuture.D() {
			at = t
		}
	}
	return at.UTC().Format("2006/01/02")
}

// fileName is such as events-n1-000001.ndjson.zst; while it is written .open
// stands before .ndjson, so that zcat and zstdcat know it all the same.
func fileName(kind, node string, number int, open bool, suffix string) string {
	state := ""
	if open {
		state = openMark
	}
	return fmt.Sprintf("%s-%s-%06d%s%s", kind, node, number, state, suffix)
}

const openMark = ".open"

// parseName takes a file's name apart. ok is false where it is not one of this
// node's.
func parseName(name, node string) (kind string, number int, open bool, suffix string, ok bool) {
	kind, rest, found := strings.Cut(name, "-"+node+"-")
	if !found || kind != kindEvents && kind != kindAlerts {
		return "", 0, false, "", false
	}
	digits, rest, found := strings.Cut(rest, ".")
	if !found || len(digits) < 6 || len(digits) > 9 {
		return "", 0, false, "", false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return "", 0, false, "", false
		}
		number = 10*number + int(c-'0')
	}
	suffix = "." + rest
	if after, is := strings.CutPrefix(suffix, openMark); is {
		open, suffix = true, after
	}
	return kind, number, open, suffix, suffix == zstdSuffix || suffix == gzipSuffix
}
