package config

import "os"

// checkEdges checks what makes the node a hub of edges.
func (l *loader) checkEdges() {
	n := &l.settings.NATS
	e := &n.Edges
	l.readable("nats.edges.users", e.Users)
	l.checkTLS("nats.edges.tls", e.TLS)
	if e.Listen == "" {
		if at := l.given("nats.edges"); e.Users != "" || e.TLS.Given() || e.Insecure {
			l.fail(at, "give nats.edges.listen, such as :7422", "without an address for edges there are none")
		}
		return
	}
	l.address("nats.edges.listen", e.Listen)
	switch {
	case !n.Embedded():
		return // it has no effect, which is said
	case n.Edge():
		l.clash("nats.edges.listen", "nats.leaf.url", "an edge is no hub; give one of them")
	case e.Users == "":
		l.fail("nats.edges.listen", "give nats.edges.users, a file with a line NODE PASSWORD for each edge", "nobody could connect")
	case e.TLS.Given() && e.TLS.Cert == "":
		l.fail(l.given("nats.edges.tls"), "give nats.edges.tls.cert and key; epmesh cert makes them", "edges have to see a certificate")
	case !e.TLS.Given() && !e.Insecure && beyond(e.Listen) != "":
		l.fail("nats.edges.listen", "give nats.edges.tls.cert and key (epmesh cert makes them), or say nats.edges.insecure: true", "from edges everything would come in plain text, passwords too, to %s", e.Listen)
	}
	if info, err := os.Stat(e.Users); e.Users != "" && err == nil && info.Mode()&0o044 != 0 {
		l.addAt(RuleBadSetting, l.from("nats.edges.users"), Warning, "chmod 600 "+e.Users, "nats.edges.users: others can read the passwords")
	}
}
