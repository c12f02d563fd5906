package config

import (
	"cmp"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

func (l *loader) checkNATS() {
	n := &l.settings.NATS
	l.address("nats.listen", n.Listen)
	if n.Sync != "always" {
		if d, err := time.ParseDuration(n.Sync); err != nil || d <= 0 {
			l.fail("nats.sync", "", `%q is neither "always" nor an interval such as 2m`, n.Sync)
		}
	}
	l.readable("nats.credentials", n.Credentials)
	l.readable("nats.context", n.Context)
	l.checkTLS("nats.tls", n.TLS)
	if n.URL != "" {
		for u := range strings.SplitSeq(n.URL, ",") {
			// Never print a URL that is not understood: it may hold a password.
			if !validURL(strings.TrimSpace(u), clientSchemes) {
				l.fail("nats.url", "write nats://host:4222, several with commas; in user and password, write special characters as %XX", "not the URL of a NATS server")
				break
			}
		}
	}
	external := !n.Embedded()
	switch {
	case n.URL != "" && n.Context != "":
		l.clash("nats.url", "nats.context", "nats.context names a server too; give one of them")
	case n.Credentials != "" && !external:
		l.fail("nats.credentials", "give nats.url too, or remove it", "the embedded server takes no credentials")
	case n.TLS.Given() && n.Context != "":
		l.clash("nats.tls.ca", "nats.context", "the context names its own; give one of them")
	case n.TLS.Given() && !external:
		l.fail(l.given("nats.tls"), "give nats.url too, or use nats.cluster.tls", "it is for an external server")
	}
	if !external && !n.Clustered() && n.Replicas > 1 && n.Replicas <= 5 {
		l.fail("nats.replicas", "give nats.cluster or the nats.url of a cluster, or leave it at 1", "one embedded server cannot keep %d copies", n.Replicas)
	}
	l.checkCluster()
	l.checkLeaf()
	l.checkEdges()
	l.checkDurability()
	if external {
		for _, path := range []string{"nats.listen", "nats.sync", "nats.max_payload", "nats.cluster.listen", "nats.edges.listen"} {
			if at := l.origin[path]; at.File != "" {
				l.addAt(RuleIgnoredKey, at, Warning, "remove it, or set it at the external server", "%s has no effect: it is for the embedded server, which is off", path)
			}
		}
	} else if h, p, err := net.SplitHostPort(l.settings.HTTP.Listen); err == nil && p != "0" && n.Listen == net.JoinHostPort(h, p) {
		l.clash("http.listen", "nats.listen", "%s is the address of nats.listen too", n.Listen)
	}
	l.secret("nats.url", n.URL)
	l.secret("nats.leaf.url", n.Leaf.URL)
}

// secret warns of a password that others can read.
func (l *loader) secret(path, urls string) {
	if at := l.origin[path]; at.Line > 0 && hasSecret(urls) && l.mode&0o044 != 0 {
		l.addAt(RuleBadSetting, at, Warning, "chmod 600 "+at.File, "%s holds a secret and others can read this file", path)
	}
}

// checkLeaf checks what makes an edge of the node.
func (l *loader) checkLeaf() {
	n := &l.settings.NATS
	f := &n.Leaf
	l.readable("nats.leaf.credentials", f.Credentials)
	l.checkTLS("nats.leaf.tls", f.TLS)
	urls := f.URLs()
	if len(urls) == 0 {
		if at := l.given("nats.leaf"); f.Credentials != "" || f.TLS.Given() || f.Insecure {
			l.fail(at, "give nats.leaf.url, such as tls://hub:7422", "without the URL of a hub the node is no edge")
		}
		return
	}
	secure, plain := f.TLS.Given(), ""
	for _, text := range urls {
		u, err := url.Parse(text)
		if !validURL(text, hubSchemes) || err != nil {
			// It may hold a password.
			l.fail("nats.leaf.url", "write tls://host:7422 or nats-leaf://host:7422, several with commas; in user and password, write special characters as %XX", "not the URL of a hub")
			return
		}
		secure = secure || u.Scheme == "tls"
		plain = cmp.Or(plain, beyond(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "7422"))))
	}
	switch {
	case !n.Embedded():
		other := "nats.url"
		if n.URL == "" {
			other = "nats.context"
		}
		l.clash("nats.leaf.url", other, "an edge has a server of its own, and %s names another; give one of them", other)
	case n.Cluster.Listen != "":
		l.clash("nats.leaf.url", "nats.cluster.listen", "an edge is one server, and nats.cluster makes it one of many; give one of them")
	case !secure && !f.Insecure && plain != "":
		l.fail("nats.leaf.url", "write tls://, or give nats.leaf.tls.ca, or say nats.leaf.insecure: true", "to the hub everything would go in plain text, the password too, to %s", plain)
	}
}

// checkCluster checks what makes embedded servers one cluster.
func (l *loader) checkCluster() {
	n := &l.settings.NATS
	c := &n.Cluster
	l.checkTLS("nats.cluster.tls", c.TLS)
	if c.Listen == "" {
		if at := l.given("nats.cluster"); len(c.Routes) > 0 || c.Advertise != "" || c.TLS.Given() {
			l.fail(at, "give nats.cluster.listen, such as :6222", "without an address for the other servers there is no cluster")
		}
		return
	}
	l.address("nats.cluster.listen", c.Listen)
	l.word("nats.cluster.name", c.Name)
	if c.Advertise != "" && !dialable(c.Advertise) {
		l.fail("nats.cluster.advertise", "write host:port, as the other servers reach this one", "%q is no address to reach", c.Advertise)
	}
	plain := c.Listen
	for _, r := range c.Routes {
		if !dialable(r) {
			l.fail("nats.cluster.routes", "write host:port, such as node-1:6222", "%q is no address to reach", r)
		}
		plain = cmp.Or(beyond(r), plain)
	}
	plain = cmp.Or(beyond(c.Listen), beyond(plain))
	switch {
	case len(c.Routes) == 0:
		l.fail("nats.cluster.routes", "list the addresses of all servers of the cluster, such as [node-1:6222, node-2:6222, node-3:6222]", "a cluster needs the address of another server at least")
	case c.TLS.Given() && (c.TLS.CA == "" || c.TLS.Cert == "" || c.TLS.Key == ""):
		l.fail(l.given("nats.cluster.tls"), "give nats.cluster.tls.ca, cert and key; epmesh cert makes them", "each server shows a certificate and checks the others': three files are needed")
	case !c.TLS.Given() && !c.Insecure && plain != "":
		l.addAt(RuleBadSetting, l.from("nats.cluster.listen"), Error, "give nats.cluster.tls.ca, cert and key (epmesh cert makes them), or say nats.cluster.insecure: true", "nats.cluster: between servers everything would go in plain text, and whoever reaches %s could join", plain)
	}
	if n.Replicas == 1 && n.Embedded() && l.origin["nats.replicas"].File == "" {
		l.addAt(RuleBadSetting, l.from("nats.cluster.listen"), Warning, "set nats.replicas: 3, or nats.replicas: 1 if that is meant", "nats.replicas: each stream is kept by one server of the cluster alone, and is lost with it")
	}
}

// checkTLS checks that the files can be read, and go together.
func (l *loader) checkTLS(path string, t TLS) {
	l.readable(path+".ca", t.CA)
	l.readable(path+".cert", t.Cert)
	l.readable(path+".key", t.Key)
	if (t.Cert == "") != (t.Key == "") {
		l.fail(l.given(path), "give both", "a certificate and its key go together")
	}
	if info, err := os.Stat(t.Key); t.Key != "" && err == nil && info.Mode()&0o044 != 0 {
		l.addAt(RuleBadSetting, l.from(path+".key"), Warning, "chmod 600 "+t.Key, "%s.key: others can read the key", path)
	}
}

// readable checks a file that the node is going to read; "" is none.
func (l *loader) readable(path, name string) {
	if name == "" {
		return
	}
	file, err := os.Open(name)
	if err != nil {
		l.fail(path, "name a file that this user can read", "cannot open %s: %v", name, reason(err))
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		l.fail(path, "name a file", "%s is no file", name)
	}
}

// given is the first setting below a section that is not at its default, or "".
func (l *loader) given(section string) string {
	for f := range fields(&l.settings) {
		if strings.HasPrefix(f.path, section+".") && l.origin[f.path].File != "" {
			return f.path
		}
	}
	return ""
}

// dialable reports whether text is host:port as one connects to it.
func dialable(text string) bool {
	host, port, err := net.SplitHostPort(text)
	return err == nil && host != "" && !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '@' || r == '/' }) && validPort(port, 1)
}

// beyond is the address, or "" if it is one of this machine only.
func beyond(address string) string {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host == "localhost" || ip != nil && ip.IsLoopback() {
		return ""
	}
	return address
}
