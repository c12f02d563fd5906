package email

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	"github.com/epmesh/epmesh/plugins/internal/delivery/deliverytest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const incident = `{"name":"SSH brute force","severity":"high","adversary":{"ip":"203.0.113.7"},"target":{"host":"wéb-1"},"alerts":2,"description":"<b>bold</b>"}`

func TestMail(t *testing.T) {
	o := openOffice(t, "127.0.0.1:0", nil, false)
	m := opened(t, values{"server": o.addr, "cc": []string{"Chef Örtlich <chef@example.test>", "ops@example.test"}})
	for range 2 { // the second time it is known
		if err := m.notify(t.Context(), message("m1", incident)); err != nil {
			t.Fatal(err)
		}
	}
	other := message("m2", "plain text with ünïcode\nand two lines")
	if err := m.notify(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	mails := o.all()
	if len(mails) != 2 || o.conns != 1 {
		t.Fatalf("%d mails over %d connections", len(mails), o.conns)
	}
	if p := mails[0]; p.from != "mesh@epmesh.test" || !slices.Equal(p.to, []string{"ops@example.test", "chef@example.test"}) {
		t.Errorf("from %s to %q", p.from, p.to)
	}
	head, subject, parts := parse(t, mails[0].text)
	if subject != "HIGH SSH brute force from 203.0.113.7 against wéb-1" {
		t.Errorf("subject %q", subject)
	}
	if id := head.Get("Message-Id"); !strings.HasSuffix(id, "@epmesh.test>") || strings.Contains(mails[1].text, id) {
		t.Errorf("message id %q", id)
	}
	if list, err := head.AddressList("Cc"); err != nil || list[0].Name != "Chef Örtlich" {
		t.Errorf("cc: %v %v", list, err)
	}
	if text := parts["text/plain"]; !strings.Contains(text, "Adversary:   203.0.113.7") || !strings.Contains(text, "<b>bold</b>") {
		t.Errorf("text:\n%s", text)
	}
	if html := parts["text/html"]; !strings.Contains(html, "wéb-1") || strings.Contains(html, "<b>bold") {
		t.Errorf("html:\n%s", html)
	}
	if _, subject, parts = parse(t, mails[1].text); subject != "plain text with ünïcode and two lines" || !strings.Contains(parts["text/plain"], "ünïcode") {
		t.Errorf("subject %q, text %q", subject, parts["text/plain"])
	}
	for line := range strings.SplitSeq(mails[0].text, "\r\n") {
		if len(line) > 998 || strings.ContainsFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\t' }) {
			t.Errorf("line %q", line)
		}
	}
}

func TestRoutes(t *testing.T) {
	o := openOffice(t, "127.0.0.1:0", nil, false)
	m := opened(t, values{"server": o.addr, "plain": true, "topics": []string{"incidents", "audit"}, "routes": []values{
		{"topics": []string{"audit"}, "to": []string{"audit@example.test"}},
		{"severities": []string{"critical", "high"}, "to": []string{"oncall@example.test"}, "cc": []string{"boss@example.test"}},
	}})
	for i, tt := range []struct{ topic, text, to string }{
		{"incidents", incident, "oncall@example.test boss@example.test"},
		{"incidents", `{"severity":"low"}`, "ops@example.test"},
		{"audit", incident, "audit@example.test"},
		{"other", incident, ""},
	} {
		msg := message(fmt.Sprint(i), tt.text)
		msg.Topic = tt.topic
		if err := m.notify(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		mails := o.all()
		if tt.to == "" {
			if len(mails) != i {
				t.Errorf("%s was mailed", tt.topic)
			}
			continue
		}
		if got := strings.Join(mails[i].to, " "); got != tt.to {
			t.Errorf("%s %s: to %s", tt.topic, tt.text, got)
		}
		if _, _, parts := parse(t, mails[i].text); len(parts) != 1 {
			t.Errorf("%d parts", len(parts))
		}
	}
}

func TestSecurity(t *testing.T) {
	authority := deliverytest.New(t)
	cert, _, _ := authority.Issue("post.test")
	password, wrong := put(t, "password", "s3cret\n"), put(t, "wrong", "guess")
	startTLS := openOffice(t, "127.0.0.1:0", &cert, false)
	implicit := openOffice(t, "127.0.0.1:0", &cert, true)
	plain := openOffice(t, "127.0.0.1:0", nil, false)
	ca := values{"ca": authority.File}
	for name, tt := range map[string]struct {
		o    *office
		v    values
		user string
		want string // of the error
	}{
		"starttls":          {startTLS, values{"security": "starttls", "tls": ca, "username": "mesh", "passwordFile": password}, "PLAIN mesh", ""},
		"implicit":          {implicit, values{"security": "tls", "tls": ca, "username": "mesh", "passwordFile": password, "auth": "login"}, "LOGIN mesh", ""},
		"without a login":   {startTLS, values{"security": "starttls", "tls": ca}, "", ""},
		"wrong password":    {startTLS, values{"security": "starttls", "tls": ca, "username": "mesh", "passwordFile": wrong}, "", "log in: the mail server answered 535 5.7.8"},
		"unknown authority": {startTLS, values{"security": "starttls"}, "", "certificate"},
		"implicit, unknown": {implicit, values{"security": "tls"}, "", "certificate"},
		"another name":      {implicit, values{"security": "tls", "tls": values{"ca": authority.File, "serverName": "other.test"}}, "", "other.test"},
		"no TLS there":      {plain, values{"security": "starttls", "tls": ca, "username": "mesh", "passwordFile": password}, "", "the server offers none"},
	} {
		tt.v["server"], tt.v["retryFor"] = tt.o.addr, "2s"
		before := len(tt.o.all())
		err := opened(t, tt.v).notify(t.Context(), message("m1", "x"))
		if tt.want != "" {
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "guess") {
				t.Errorf("%s: %v", name, err)
			}
			if len(tt.o.all()) != before {
				t.Errorf("%s: mailed all the same", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p := tt.o.all()[before]; !p.tls || p.user != tt.user {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// refuse answers some steps with a code.
func refuse(code int, steps ...string) func(string) *smtp.SMTPError {
	return func(step string) *smtp.SMTPError {
		for _, s := range steps {
			if strings.HasPrefix(step, s) {
				return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "because of the test"}
			}
		}
		return nil
	}
}

func TestWhatTheNodeIsTold(t *testing.T) {
	o := openOffice(t, "127.0.0.1:0", nil, false)
	for i, tt := range []struct {
		answer func(string) *smtp.SMTPError
		code   codes.Code
		later  bool
		text   string
		to     int
	}{
		{nil, codes.OK, false, "", 2},
		{refuse(550, "data"), codes.InvalidArgument, false, "mail: the mail server answered 550 5.1.1 because of the test", 0},
		{refuse(550, "mail"), codes.InvalidArgument, false, "from mesh@epmesh.test: the mail server answered 550", 0},
		{refuse(550, "rcpt"), codes.InvalidArgument, false, "to a@example.test: the mail server answered 550", 0},
		{refuse(550, "rcpt b"), codes.OK, false, "", 1}, // who can get it gets it
		{refuse(450, "rcpt b"), codes.Unavailable, true, "to b@example.test: the mail server answered 450", 0},
		{refuse(452, "data"), codes.Unavailable, true, "mail: the mail server answered 452", 0},
		{refuse(421, "mail"), codes.Unavailable, true, "answered 421", 0},
	} {
		// One that has no failures behind it, which would have it wait.
		m := opened(t, values{"server": o.addr, "retryFor": "1s", "to": []string{"a@example.test", "b@example.test"}})
		o.say(tt.answer)
		before := len(o.all())
		err := m.notify(t.Context(), message(fmt.Sprint(i), "x"))
		if status.Code(err) != tt.code || isLater(err) != tt.later || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%d: %v, later %v", i, err, isLater(err))
		}
		if mails := o.all(); tt.to == 0 && len(mails) != before || tt.to > 0 && (len(mails) != before+1 || len(mails[before].to) != tt.to) {
			t.Errorf("%d: %d mails", i, len(mails)-before)
		}
	}
}

// A server that is away, or says nothing, is not the message's fault; when it is
// back all goes on.
func TestAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	m := opened(t, values{"server": l.Addr().String(), "timeout": "1s", "retryFor": "0s"})
	began := time.Now()
	if err := m.notify(t.Context(), message("m1", "x")); !isLater(err) || time.Since(began) > 5*time.Second {
		t.Errorf("silent: %v after %s", err, time.Since(began))
	}
	l.Close()
	m.Settings.RetryFor = plugins.Duration(time.Second)
	if err := m.notify(t.Context(), message("m1", "x")); !isLater(err) {
		t.Errorf("gone: %v", err)
	}
	o := openOffice(t, l.Addr().String(), nil, false)
	m.Settings.RetryFor = plugins.Duration(20 * time.Second)
	if err := m.notify(t.Context(), message("m1", "x")); err != nil || len(o.all()) != 1 {
		t.Errorf("back: %v", err)
	}
	// A kept connection that the server ended meanwhile is no matter.
	o.srv.Close()
	p := openOffice(t, o.addr, nil, false)
	if err := m.notify(t.Context(), message("m2", "x")); err != nil || len(p.all()) != 1 {
		t.Errorf("again: %v", err)
	}
}

// A server that talks without end does not fill the memory.
func TestEndlessReply(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			for err == nil {
				_, err = conn.Write([]byte("220-" + strings.Repeat("x", 500) + "\r\n"))
			}
			conn.Close()
		}
	}()
	m := opened(t, values{"server": l.Addr().String(), "retryFor": "0s"})
	if err := m.notify(t.Context(), message("m1", "x")); !isLater(err) || !strings.Contains(err.Error(), "says too much") {
		t.Error(err)
	}
	l.Close()
	<-ended
}

func TestServed(t *testing.T) {
	o := openOffice(t, "127.0.0.1:0", nil, false)
	m := build(t, values{"server": o.addr})
	stop := run(t, m)
	client := pb.NewNotificationClient(enginetest.Dial(t, m.Dir, "mail_notification.sock"))
	if _, err := client.Notify(t.Context(), message("m1", "x")); err != nil {
		t.Error(err)
	}
	stop()
	// Also after a restart it is mailed once.
	again := build(t, values{"server": o.addr, "dir": m.Dir})
	run(t, again)
	client = pb.NewNotificationClient(enginetest.Dial(t, m.Dir, "mail_notification.sock"))
	if _, err := client.Notify(t.Context(), message("m1", "x")); err != nil || len(o.all()) != 1 {
		t.Errorf("%v, %d mails", err, len(o.all()))
	}
}

// What waits when the plugin stops goes back to the node at once.
func TestStopsAtOnce(t *testing.T) {
	m := build(t, values{"server": "127.0.0.1:1", "retryFor": "1h"})
	stop := run(t, m)
	client := pb.NewNotificationClient(enginetest.Dial(t, m.Dir, "mail_notification.sock"))
	answer := make(chan error, 1)
	go func() {
		_, err := client.Notify(context.Background(), message("m1", "x"))
		answer <- err
	}()
	within(t, "it has tried", m.gate.Failing)
	began := time.Now()
	stop()
	if err := <-answer; !isLater(err) || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestSettings(t *testing.T) {
	base := `"server":"mail.test:25","from":"a@b.test","to":["c@d.test"]`
	password := put(t, "password", "s3cret")
	for text, want := range map[string]string{
		`{"server":"mail.test","from":"a@b.test","to":["c@d.test"]}`:                        "server: is ",
		`{"server":"mail.test:25","from":"nobody","to":["c@d.test"]}`:                       "from: ",
		`{"server":"mail.test:25","from":"a@b.test"}`:                                       "to: at least one",
		`{"server":"mail.test:25","from":"a@b.test","to":["x\r\nBcc: y@z"]}`:                "is no address",
		`{` + base + `,"security":"ssl"}`:                                                   "security: is ",
		`{` + base + `,"security":"none","tls":{"serverName":"x"}}`:                         "tls: has no meaning",
		`{` + base + `,"username":"u"}`:                                                     "username and passwordFile",
		`{` + base + `,"username":"u","passwordFile":"/nowhere"}`:                           "passwordFile: ",
		`{` + base + `,"security":"none","username":"u","passwordFile":"` + password + `"}`: "not sent without TLS",
		`{` + base + `,"auth":"cram-md5"}`:                                                  "auth: is ",
		`{` + base + `,"subject":"{{.Nope}}"}`:                                              "subject: ",
		`{` + base + `,"text":"{{"}`:                                                        "text: ",
		`{` + base + `,"html":"{{"}`:                                                        "html: ",
		`{` + base + `,"text":"x","textFile":"y"}`:                                          "want one of them",
		`{` + base + `,"plain":true,"html":"x"}`:                                            "html: has no meaning",
		`{` + base + `,"digest":{"every":"1ms"}}`:                                           "digest.every: is 1ms",
		`{` + base + `,"digest":{"max":0}}`:                                                 "digest.max: is 0",
		`{` + base + `,"digest":{"immediate":["bad"]}}`:                                     "digest.immediate: ",
		`{` + base + `,"digest":{"maxKept":5}}`:                                             "digest.maxKept: is 5",
		`{` + base + `,"digest":{"maxKeptBytes":5}}`:                                        "digest.maxKeptBytes: is 5",
		`{` + base + `,"routes":[{"topics":["x"]}]}`:                                        "routes[0].to: ",
		`{` + base + `,"routes":[{"severities":["x"],"to":["c@d.test"]}]}`:                  "routes[0].severities: ",
		`{` + base + `,"hello":"a b"}`:                                                      "hello: is ",
		`{` + base + `,"timeout":"1ms"}`:                                                    "timeout: is 1ms",
		`{` + base + `,"retryFor":"2h"}`:                                                    "retryFor: is 2h",
	} {
		_, err := New(plugins.Instance{Name: "n", Config: gjson.Parse(text)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
