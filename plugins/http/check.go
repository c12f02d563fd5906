package httpin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/epmesh/epmesh/plugins"
)

// choices are what a client may be allowed to say about itself.
var choices = []string{"dataType", "dataSource", "tenant"}

// check says what is wrong, all of it, and fills in what was left out.
func (s *settings) check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(s.Listeners) == 0 {
		add("listeners: at least one {listen: host:port} is needed")
	}
	for i := range s.Listeners {
		errs = append(errs, s.Listeners[i].check(fmt.Sprintf("listeners[%d]", i), len(s.Tokens) > 0)...)
	}
	for i, t := range s.Tokens {
		where := fmt.Sprintf("tokens[%d]", i)
		if !filepath.IsAbs(t.File) {
			add("%s.file: %q must be an absolute path: tokens are read from files", where, t.File)
		}
		errs = append(errs, t.origin().check(where)...)
	}
	within := func(name string, v, low, high int) {
		if v < low || v > high {
			add("%s: is %d, want %d to %d", name, v, low, high)
		}
	}
	within("maxBody", s.MaxBody, 1024, 256<<20)
	within("maxRecord", s.MaxRecord, 64, 3<<20)
	within("maxRecords", s.MaxRecords, 1, 1_000_000)
	within("maxRequests", s.MaxRequests, 1, 65536)
	within("maxInHand", s.MaxInHand, 1024, 4<<30)
	within("maxConnections", s.MaxConnections, 1, 65536)
	within("idempotency.keys", s.Idempotency.Keys, 16, 1<<20)
	if s.MaxInHand < s.MaxBody {
		add("maxInHand: is %d, less than maxBody (%d): a body of that size could never be taken", s.MaxInHand, s.MaxBody)
	}
	between := func(name string, v plugins.Duration, low, high time.Duration) {
		if v.D() < low || v.D() > high {
			add("%s: is %s, want %s to %s", name, v, low, high)
		}
	}
	between("headerTimeout", s.HeaderTimeout, 100*time.Millisecond, time.Minute)
	between("readTimeout", s.ReadTimeout, 100*time.Millisecond, time.Hour)
	between("idleTimeout", s.IdleTimeout, time.Second, time.Hour)
	between("storeTimeout", s.StoreTimeout, 100*time.Millisecond, 10*time.Minute)
	between("retryAfter", s.RetryAfter, time.Second, time.Hour)
	between("reload", s.Reload, 10*time.Millisecond, time.Hour)
	between("idempotency.keep", s.Idempotency.Keep, time.Minute, 30*24*time.Hour)
	return errors.Join(errs...)
}

func (l *listener) check(where string, tokens bool) []error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	host, _, err := net.SplitHostPort(l.Listen)
	if err != nil {
		add("%s.listen: %q is no address: write host:port, such as 127.0.0.1:8480", where, l.Listen)
	}
	if (l.TLS.Cert == "") != (l.TLS.Key == "") {
		add("%s.tls: cert and key belong together: name both files", where)
	}
	if l.TLS.ClientCA != "" && l.TLS.Cert == "" {
		add("%s.tls.clientCA: works with cert and key only", where)
	}
	for name, file := range map[string]string{"cert": l.TLS.Cert, "key": l.TLS.Key, "clientCA": l.TLS.ClientCA} {
		if file != "" && !filepath.IsAbs(file) {
			add("%s.tls.%s: %q must be an absolute path: a plugin's working directory is not yours", where, name, file)
		}
	}
	if err == nil && !l.Insecure && !loopback(host) {
		if l.TLS.Cert == "" {
			add("%s: %s is reached from beyond this machine and has no TLS: name tls.cert and tls.key, listen on 127.0.0.1, or say insecure: true", where, l.Listen)
		}
		if !tokens && l.TLS.ClientCA == "" {
			add("%s: %s is reached from beyond this machine and asks nobody who they are: name tokens or tls.clientCA, listen on 127.0.0.1, or say insecure: true", where, l.Listen)
		}
	}
	errs = append(errs, l.origin().check(where)...)
	if len(l.Paths) == 0 {
		l.Paths = defaultPaths()
	}
	for i := range l.Paths {
		errs = append(errs, l.Paths[i].check(fmt.Sprintf("%s.paths[%d]", where, i))...)
	}
	if len(errs) == 0 {
		if err := routable(l.Paths); err != nil {
			add("%s.paths: %w", where, err)
		}
	}
	return errs
}

func (p *path) check(where string) []error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Format == "" {
		p.Format = formatAuto
	}
	if !slices.Contains([]string{formatAuto, formatLines, formatJSON, formatOTLP}, p.Format) {
		add("%s.format: is %q, want auto, lines, json or otlp", where, p.Format)
	}
	if !strings.HasPrefix(p.Path, "/") || p.Path == "/healthz" || strings.ContainsAny(p.Path, "?# ") {
		add("%s.path: %q: want a path that begins with / and is not /healthz, such as /logs or /logs/{dataType}", where, p.Path)
	}
	for segment := range strings.SplitSeq(p.Path, "/") {
		name, ok := placeholder(segment)
		if !ok && strings.ContainsAny(segment, "{}") || ok && !slices.Contains(choices, name) {
			add("%s.path: %q: a segment in braces is {dataType}, {dataSource} or {tenant}", where, p.Path)
		}
	}
	for _, c := range p.Choose {
		if !slices.Contains(choices, c) {
			add("%s.choose: %q: a client may choose dataType, dataSource and tenant", where, c)
		}
	}
	if p.Fields.ID != "" && p.Fields.Timestamp == "" {
		add("%s.fields.id: needs fields.timestamp: the same record sent again has to be the same log, its time included", where)
	}
	if p.Body && p.Format != formatOTLP {
		add("%s.bodyOnly: is for format: otlp", where)
	}
	if p.Format == formatOTLP && (p.Fields.ID != "" || p.Fields.Raw != "") {
		add("%s.fields: with format: otlp only timestamp, dataType and dataSource can be named", where)
	}
	if p.Format == formatOTLP && !slices.Contains([]string{"", "time", "observedTime"}, p.Fields.Timestamp) {
		add("%s.fields.timestamp: is %q, want time or observedTime with format: otlp", where, p.Fields.Timestamp)
	}
	return append(errs, p.origin().check(where)...)
}

func placeholder(segment string) (string, bool) {
	name, open := strings.CutPrefix(segment, "{")
	name, end := strings.CutSuffix(name, "}")
	return name, open && end
}

func (o origin) check(where string) []error {
	var errs []error
	for name, v := range map[string]string{"dataType": o.dataType, "dataSource": o.dataSource, "tenant": o.tenant} {
		if v != "" && !sound(v) {
			errs = append(errs, fmt.Errorf("%s.%s: want at most %d bytes of printable text", where, name, maxName))
		}
	}
	return errs
}

// maxName is what a data type, source or tenant may have, in bytes.
const maxName = 256

// sound says whether a name is one that can go on as it is.
func sound(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// loopback says whether only this machine reaches a host's address. A name is
// taken to be reached from elsewhere, but for localhost.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
