package demo

import (
	"encoding/json"
	"fmt"
	"time"
)

var (
	servers  = []string{"web-1.example.com", "web-2.example.com", "db-1.example.com", "bastion.example.com"}
	sites    = []string{"shop.example.com", "www.example.com"}
	users    = []string{"alice", "bob", "carol", "dave", "deploy"}
	guesses  = []string{"root", "admin", "oracle", "test", "ubuntu", "postgres", "git"}
	pages    = []string{"/", "/products", "/products/17", "/products/42", "/cart", "/checkout", "/static/app.js", "/static/style.css", "/api/v1/stock", "/about"}
	probes   = []string{"/.env", "/wp-login.php", "/phpmyadmin/index.php", "/.git/config", "/admin.php", "/backup.zip", "/cgi-bin/test.cgi", "/server-status", "/config.json", "/vendor/phpunit/eval.php", "/actuator/env", "/.aws/credentials", "/owa/auth.owa", "/solr/admin/info", "/boaform/login"}
	browsers = []string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
	}
	ports  = []int{443, 443, 443, 80, 22, 53, 123}
	refuse = []int{21, 22, 23, 25, 80, 110, 135, 139, 143, 443, 445, 993, 1433, 1521, 2375, 3306, 3389, 5432, 5900, 6379, 8080, 8443, 9200, 11211, 27017}
)

const (
	firewall = "fw-1.example.com"
	// backups is the address of a storage service; no client has it.
	backups = "198.51.100.254"
)

// client is somebody who belongs here, attacker somebody who does not.
func (g *generator) client() string   { return fmt.Sprintf("198.51.100.%d", 1+g.rng.IntN(253)) }
func (g *generator) attacker() string { return fmt.Sprintf("203.0.113.%d", 1+g.rng.IntN(254)) }
func (g *generator) server() string   { return serverIP(g.rng.IntN(len(servers))) }
func (g *generator) port() int        { return 32768 + g.rng.IntN(28000) }

// serverIP is the address of one of servers.
func serverIP(i int) string { return fmt.Sprintf("192.0.2.%d", 10+i) }

func (g *generator) status() int {
	switch n := g.rng.IntN(1000); {
	case n < 930:
		return 200
	case n < 980:
		return 304
	case n < 985:
		return 404
	case n < 997:
		return 302
	}
	return 500
}

// syslogged is a line as syslog daemons write it to a file.
func syslogged(host, program string, pid int, message string) func(time.Time) string {
	return func(at time.Time) string {
		return fmt.Sprintf("%s %s %s[%d]: %s", at.Format(time.Stamp), host, program, pid, message)
	}
}

func (g *generator) pid() int { return 1000 + g.rng.IntN(60000) }

// login is a password that sshd takes or not.
func (g *generator) login(at time.Duration, from, user string, ok bool) line {
	return g.loginOn(at, pick(g, servers), from, user, ok)
}

func (g *generator) loginOn(at time.Duration, host, from, user string, ok bool) line {
	message := fmt.Sprintf("Accepted password for %s from %s port %d ssh2", user, from, g.port())
	if !ok {
		known := ""
		if contains(guesses, user) && user != "root" {
			known = "invalid user "
		}
		message = fmt.Sprintf("Failed password for %s%s from %s port %d ssh2", known, user, from, g.port())
	}
	return line{at, "sshd", host, syslogged(host, "sshd", g.pid(), message)}
}

// session is what else sshd says.
func (g *generator) session(at time.Duration) line {
	host, user := pick(g, servers), pick(g, users)
	message := fmt.Sprintf("pam_unix(sshd:session): session closed for user %s", user)
	if g.rng.IntN(2) == 0 {
		message = fmt.Sprintf("Disconnected from user %s %s port %d", user, g.client(), g.port())
	}
	return line{at, "sshd", host, syslogged(host, "sshd", g.pid(), message)}
}

// request is a line of nginx in the combined format, the site before it.
func (g *generator) request(at time.Duration, from, path string, status int) line {
	return g.requestTo(at, servers[g.rng.IntN(2)], from, path, status)
}

func (g *generator) requestTo(at time.Duration, host, from, path string, status int) line {
	site, agent, size := pick(g, sites), pick(g, browsers), 200+g.rng.IntN(40000)
	method := "GET"
	if path == "/cart" || path == "/checkout" {
		method = "POST"
	}
	if status >= 400 {
		size = 153
	}
	return line{at, "nginx", host, func(t time.Time) string {
		return fmt.Sprintf(`%s:443 %s - - [%s] "%s %s HTTP/1.1" %d %d "-" "%s"`, site, from, t.Format("02/Jan/2006:15:04:05 -0700"), method, path, status, size, agent)
	}}
}

// flow is what the firewall writes, as JSON.
type flow struct {
	Time    string `json:"time"`
	Device  string `json:"device"`
	Rule    int    `json:"rule"`
	Verdict string `json:"verdict"`
	Proto   string `json:"proto"`
	Src     string `json:"src"`
	SPort   int    `json:"sport"`
	Dst     string `json:"dst"`
	DPort   int    `json:"dport"`
	Bytes   int    `json:"bytes"`
}

func (g *generator) connection(at time.Duration) line {
	return g.packet(at, flow{Rule: 10, Verdict: "allow", Proto: "tcp", Src: g.client(), SPort: g.port(), Dst: g.server(), DPort: pick(g, ports), Bytes: 400 + g.rng.IntN(90000)})
}

// backup is what the database sends to where its backups are kept.
func (g *generator) backup(at time.Duration) line {
	return g.packet(at, flow{Rule: 15, Verdict: "allow", Proto: "tcp", Src: serverIP(2), SPort: g.port(), Dst: backups, DPort: 443, Bytes: 20_000_000 + g.rng.IntN(60_000_000)})
}

func (g *generator) packet(at time.Duration, f flow) line {
	f.Device = firewall
	return line{at, "firewall", firewall, func(t time.Time) string {
		f.Time = t.Format(time.RFC3339Nano)
		text, err := json.Marshal(f)
		if err != nil {
			return "" // cannot be: texts and numbers
		}
		return string(text)
	}}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
