package demo

import "time"

// stepPause lies between two steps of an intrusion; less where intrusions follow
// each other closely.
const stepPause = 3 * time.Second

// intrusion is one attacker's way into web-1 and out again: a look at its ports
// through the firewall, at the paths of its site, guessed passwords until one is
// taken, and then data that leaves. All of it comes from one address, by which it
// can be told to be one story among the day's work.
func (g *generator) intrusion(at time.Duration) []line {
	pause := min(stepPause, g.Every.D()/8)
	from := g.attacker()
	out := g.sweep(at, from)
	for _, step := range []func(time.Duration, string) []line{g.pathScan, g.bruteForce, g.exfiltration} {
		at = out[len(out)-1].at + pause
		out = append(out, step(at, from)...)
	}
	return out
}

// sweep knocks at many ports.
func (g *generator) sweep(at time.Duration, from string) []line {
	var out []line
	for _, port := range refuse {
		out = append(out, g.packet(at, flow{Rule: 99, Verdict: "deny", Proto: "tcp", Src: from, SPort: g.port(), Dst: serverIP(0), DPort: port}))
		at += time.Duration(10+g.rng.IntN(20)) * time.Millisecond
	}
	return out
}

// pathScan asks a web server for what it should not have.
func (g *generator) pathScan(at time.Duration, from string) []line {
	var out []line
	for range 2 {
		for _, path := range probes {
			out = append(out, g.requestTo(at, servers[0], from, path, 404))
			at += time.Duration(20+g.rng.IntN(30)) * time.Millisecond
		}
	}
	return out
}

// bruteForce guesses passwords, and gets in.
func (g *generator) bruteForce(at time.Duration, from string) []line {
	var out []line
	for range 14 + g.rng.IntN(6) {
		out = append(out, g.loginOn(at, servers[0], from, pick(g, guesses), false))
		at += time.Duration(30+g.rng.IntN(40)) * time.Millisecond
	}
	return append(out, g.loginOn(at+300*time.Millisecond, servers[0], from, "deploy", true))
}

// exfiltration is data on its way from the server to whom it does not belong.
func (g *generator) exfiltration(at time.Duration, to string) []line {
	var out []line
	for range 3 {
		out = append(out, g.packet(at, flow{Rule: 20, Verdict: "allow", Proto: "tcp", Src: serverIP(0), SPort: g.port(), Dst: to, DPort: 443, Bytes: 20_000_000 + g.rng.IntN(60_000_000)}))
		at += 200 * time.Millisecond
	}
	return out
}
