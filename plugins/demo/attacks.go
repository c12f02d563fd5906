package demo

import "time"

// bruteForce guesses passwords of one host, and gets in.
func (g *generator) bruteForce(at time.Duration) []line {
	from, host := g.attacker(), pick(g, servers)
	var out []line
	for range 14 + g.rng.IntN(6) {
		out = append(out, g.loginOn(at, host, from, pick(g, guesses), false))
		at += time.Duration(30+g.rng.IntN(40)) * time.Millisecond
	}
	return append(out, g.loginOn(at+300*time.Millisecond, host, from, "deploy", true))
}

// pathScan asks a web server for what it should not have.
func (g *generator) pathScan(at time.Duration) []line {
	from := g.attacker()
	var out []line
	for range 2 {
		for _, path := range probes {
			out = append(out, g.request(at, from, path, 404))
			at += time.Duration(20+g.rng.IntN(30)) * time.Millisecond
		}
	}
	return out
}

// sweep knocks at many ports.
func (g *generator) sweep(at time.Duration) []line {
	from, to := g.attacker(), g.server()
	var out []line
	for _, port := range refuse {
		out = append(out, g.packet(at, flow{Rule: 99, Verdict: "deny", Proto: "tcp", Src: from, SPort: g.port(), Dst: to, DPort: port}))
		at += time.Duration(10+g.rng.IntN(20)) * time.Millisecond
	}
	return out
}
