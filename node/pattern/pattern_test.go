package pattern

import (
	"strings"
	"testing"
)

func TestBuiltin(t *testing.T) {
	for name, texts := range map[string]struct{ whole, not []string }{
		"integer":         {[]string{"7", "-12", "+3"}, []string{"", "x", "1.5"}},
		"word":            {[]string{"abc_1"}, []string{"a b", "-"}},
		"notSpace":        {[]string{"a-b/c"}, []string{"a b"}},
		"space":           {[]string{" \t"}, []string{"", "x"}},
		"data":            {[]string{"", "a b"}, []string{"a\nb"}},
		"greedy":          {[]string{"", "a b"}, []string{"a\nb"}},
		"ipv4":            {[]string{"192.0.2.1", "255.255.255.255", "0.0.0.0"}, []string{"256.1.1.1", "1.2.3"}},
		"ipv6":            {[]string{"2001:db8::1", "::", "::1", "fe80::1%eth0", "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1", "2001:db8::", "64:ff9b::192.0.2.33"}, []string{"1:2:3", "x::1", "12345::"}},
		"hostname":        {[]string{"a", "asa01.example.com", "my_host-1"}, []string{"-a", "a b"}},
		"domain":          {[]string{"example.com", "a.b-c.example"}, []string{"localhost", "-a.com"}},
		"email":           {[]string{"a.b+c@example.com"}, []string{"a@", "@b"}},
		"uuid":            {[]string{"00000000-0000-4000-8000-00000000000a"}, []string{"00000000"}},
		"commonMacAddr":   {[]string{"00:1A:2b:3c:4d:5e"}, []string{"00-1A-2b-3c-4d-5e"}},
		"winMacAddr":      {[]string{"00-1A-2b-3c-4d-5e"}, []string{"00:1A:2b:3c:4d:5e"}},
		"ciscoMacAddr":    {[]string{"001a.2b3c.4d5e"}, []string{"001a.2b3c"}},
		"hour":            {[]string{"0", "09", "23"}, []string{"24"}},
		"minute":          {[]string{"00", "59"}, []string{"60", "5"}},
		"seconds":         {[]string{"00", "60", "59.123", "7,5"}, []string{"61"}},
		"time":            {[]string{"10:00", "23:59:59.999"}, []string{"1000", "24:00"}},
		"day":             {[]string{"Mon", "Saturday"}, []string{"mon", "Satur"}},
		"monthName":       {[]string{"Sep", "september", "May"}, []string{"SEP", "Foo"}},
		"monthNumber":     {[]string{"1", "01", "12"}, []string{"0", "13"}},
		"monthDay":        {[]string{"1", "01", "31"}, []string{"0", "32"}},
		"year":            {[]string{"2026", "99"}, []string{"1", "20261"}},
		"syslogDate":      {[]string{"Sep  3 10:00:00"}, []string{"3 Sep"}},
		"iso8601Timezone": {[]string{"Z", "+02:00", "-0530", "+1"}, []string{"02:00"}},
	} {
		re, err := New(nil).Compile(`^(?:{{.` + name + `}})$`)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range texts.whole {
			if !re.MatchString(s) {
				t.Errorf("%s does not match %q", name, s)
			}
		}
		for _, s := range texts.not {
			if re.MatchString(s) {
				t.Errorf("%s matches %q", name, s)
			}
		}
	}
	if len(New(nil).Names()) != 26 {
		t.Errorf("%d names", len(New(nil).Names()))
	}
}

func TestExpand(t *testing.T) {
	more := map[string]string{"a": "1{{.b}}", "b": "2", "loop": "x{{.loop}}", "bomb": strings.Repeat("{{.bomb}}", 10), "integer": "mine"}
	for _, tt := range []struct{ in, want, err string }{
		{`x{{.a}}{{ .b }}`, "x122", ""},
		{`{{.integer}}`, "mine", ""},
		{`x{{`, "x{{", ""},
		{`{{.nope}}`, "", "unknown pattern {{.nope}}"},
		{`{{.loop}}`, "", "more than 10 deep"},
		{`{{.bomb}}`, "", "too long"},
	} {
		got, err := New(more).Expand(tt.in)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v", tt.in, got, err)
		}
	}
	for _, bad := range []string{`(`, `((a{100}){100}){10}`, `(a{500}b{500}){90}`} {
		if _, err := New(nil).Compile(bad); err == nil {
			t.Errorf("%s compiled", bad)
		}
	}
}
