package syslog

import "strings"

// hostname is the host that a message names in its header, RFC 5424 or RFC 3164;
// "" where it names none. It reads no further than the host.
func hostname(msg string) string {
	rest, ok := cutPriority(msg)
	if !ok {
		return ""
	}
	var host string
	if after, ok := strings.CutPrefix(rest, "1 "); ok {
		_, after, _ = strings.Cut(after, " ") // the timestamp
		host, _, _ = strings.Cut(after, " ")
	} else {
		// Some senders pad the time with more than one space.
		host, _, _ = strings.Cut(strings.TrimLeft(afterTime(rest), " "), " ")
	}
	if !plausible(host) {
		return ""
	}
	return host
}

// cutPriority takes "<34>" off.
func cutPriority(msg string) (string, bool) {
	if len(msg) < 3 || msg[0] != '<' {
		return "", false
	}
	end := strings.IndexByte(msg[:min(len(msg), 5)], '>')
	if end < 2 {
		return "", false
	}
	for _, c := range []byte(msg[1:end]) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return msg[end+1:], true
}

// afterTime takes off the time of RFC 3164, "Jan _2 15:04:05 ", with or without
// a year, or an ISO 8601 time, which many senders write there. Without a time
// there is no header to read a host from: "".
func afterTime(s string) string {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	if len(s) > 16 && strings.Index(months, s[:3])%3 == 0 && s[3] == ' ' && s[6] == ' ' {
		s = s[7:]
		if len(s) > 5 && s[4] == ' ' && digits(s[:4]) { // the year, as Cisco writes it
			s = s[5:]
		}
		clock, rest, ok := strings.Cut(s, " ")
		if ok && len(clock) >= 8 && clock[2] == ':' && clock[5] == ':' {
			return rest
		}
		return ""
	}
	if t, rest, ok := strings.Cut(s, " "); ok && len(t) >= 19 && t[4] == '-' && t[10] == 'T' && digits(t[:4]) {
		return rest
	}
	return ""
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// plausible refuses what stands in the host's place and is none: the nil value,
// a program's name with its colon or process id, anything over the 255 bytes
// that RFC 5424 allows.
func plausible(host string) bool {
	if host == "" || host == "-" || len(host) > 255 || strings.HasSuffix(host, ":") || strings.ContainsRune(host, '[') {
		return false
	}
	for i := range len(host) {
		if host[i] <= ' ' || host[i] > '~' {
			return false
		}
	}
	return true
}
