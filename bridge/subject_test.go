package bridge

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestToken(t *testing.T) {
	for _, tt := range []struct{ value, token string }{
		{"generic", "generic"},
		{"firewall-cisco-asa", "firewall-cisco-asa"},
		{"", "%"},
		{"a.b", "a%2eb"},
		{"*", "%2a"},
		{">", "%3e"},
		{"with space", "with%20space"},
		{"100%", "100%25"},
		{"é", "%c3%a9"},
	} {
		if got := Token(tt.value); got != tt.token {
			t.Errorf("Token(%q) = %q, want %q", tt.value, got, tt.token)
		}
	}
}

func TestTokenProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.String().Draw(t, "value")
		token := Token(v)
		if token == "" || strings.ContainsAny(token, ".*> \t\r\n\x00") || len(token) > 2*maxToken {
			t.Fatalf("Token(%q) = %q", v, token)
		}
		if back, ok := Untoken(token); ok && back != v {
			t.Fatalf("Untoken(Token(%q)) = %q", v, back)
		}
		if w := rapid.String().Draw(t, "other"); w != v && Token(w) == token {
			t.Fatalf("%q and %q share the token %q", v, w, token)
		}
	})
}
