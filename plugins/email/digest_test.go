package email

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/plugins"
	"github.com/epmesh/epmesh/plugins/enginetest"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
)

// within waits for a condition.
func within(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for late := time.After(20 * time.Second); !ok(); {
		select {
		case <-late:
			t.Fatalf("never: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// mailed counts the messages in mails: each says its id in a line of the text.
func mailed(t testing.TB, o *office) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, p := range o.all() {
		_, _, parts := parse(t, p.text)
		for line := range strings.Lines(parts["text/plain"]) {
			if id, ok := strings.CutPrefix(line, "Message:     "); ok {
				count[strings.TrimSpace(id)]++
			}
		}
	}
	return count
}

func TestDigest(t *testing.T) {
	o := openOffice(t, "127.0.0.1:0", nil, false)
	m := build(t, values{"server": o.addr, "digest": values{"every": "1s", "max": 50, "immediate": []string{"critical"}}, "routes": []values{
		{"severities": []string{"low"}, "to": []string{"low@example.test"}},
	}})
	run(t, m)
	client := pb.NewNotificationClient(enginetest.Dial(t, m.Dir, "mail_notification.sock"))
	send := func(id, severity string) {
		t.Helper()
		if _, err := client.Notify(t.Context(), message(id, fmt.Sprintf(`{"name":"N%s","severity":%q}`, id, severity))); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for i := range 5 {
		send(fmt.Sprint(i), []string{"high", "low", "medium", "high", "high"}[i])
		send(fmt.Sprint(i), "high") // the same again
	}
	send("now", "Critical")
	if mails := o.all(); len(mails) != 1 || mailed(t, o)["now"] != 1 {
		t.Fatalf("%d mails at once", len(mails))
	}
	within(t, "the digest is mailed", func() bool { return len(o.all()) == 3 })
	if time.Since(began) < 900*time.Millisecond {
		t.Error("it did not wait")
	}
	var subjects []string
	for _, p := range o.all()[1:] {
		_, subject, _ := parse(t, p.text)
		subjects = append(subjects, strings.Join(p.to, ",")+": "+subject)
	}
	slices.Sort(subjects)
	if want := []string{"low@example.test: LOW N1", "ops@example.test: 4 messages, the worst high: N0"}; !slices.Equal(subjects, want) {
		t.Errorf("mails %q", subjects)
	}
	// Enough of them go at once.
	var calls sync.WaitGroup
	for i := range 50 {
		calls.Go(func() { send(fmt.Sprint("many", i), "high") })
	}
	calls.Wait()
	within(t, "the full digest is mailed", func() bool { return len(mailed(t, o)) == 5+1+50 })
	for id, n := range mailed(t, o) {
		if n != 1 {
			t.Errorf("%s was mailed %d times", id, n)
		}
	}
}

// What the server refuses holds up itself and nothing else, and goes when the
// server has thought better of it.
func TestDigestWithATroublemaker(t *testing.T) {
	o := openOffice(t, "127.0.0.1:0", nil, false)
	o.say(func(step string) *smtp.SMTPError {
		if strings.HasPrefix(step, "data") && strings.Contains(step, "Nbad") {
			return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "no such thing"}
		}
		return nil
	})
	m := build(t, values{"server": o.addr, "digest": values{"every": "1s", "max": 10, "maxKept": 10}})
	run(t, m)
	client := pb.NewNotificationClient(enginetest.Dial(t, m.Dir, "mail_notification.sock"))
	for _, id := range []string{"1", "2", "bad", "3"} {
		if _, err := client.Notify(t.Context(), message(id, `{"name":"N`+id+`","severity":"high"}`)); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "the others are mailed", func() bool { return len(mailed(t, o)) == 3 })
	within(t, "the trouble is known", func() bool { return strings.Contains(m.inTrouble(), "554 5.6.0 no such thing") })
	// A full spool says why.
	for i := range 9 {
		_ = m.spool.put(message(fmt.Sprint("fill", i), "x"), time.Now().Add(time.Hour))
	}
	if _, err := client.Notify(t.Context(), message("more", `{"severity":"high"}`)); !isLater(err) || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("full: %v", err)
	}
	o.say(nil)
	within(t, "the troublemaker is mailed", func() bool { return mailed(t, o)["bad"] == 1 })
}

func TestMain(m *testing.M) {
	enginetest.Program(func(dir string, settings []byte) error {
		r, err := New(plugins.Instance{Name: "mail", Dir: dir, Host: "n1", Logger: plugins.NewLogger("mail", nil), Config: gjson.ParseBytes(settings)})
		if err != nil {
			return err
		}
		return r.Run(context.Background())
	})
	goleak.VerifyTestMain(m)
}

// The plugin is killed while messages wait for their digest: after a restart all
// are mailed.
func TestKilledDigest(t *testing.T) {
	o := openOffice(t, "127.0.0.1:0", nil, false)
	dir := shortdir.New(t)
	start := func(every string) *exec.Cmd {
		settings, err := json.Marshal(values{
			"server": o.addr, "security": "none", "from": "a@b.test", "to": []string{"c@d.test"}, "digest": values{"every": every, "max": 1000, "maxKept": 1000},
		})
		if err != nil {
			t.Fatal(err)
		}
		return enginetest.Spawn(t, dir, string(settings))
	}
	ledger := map[string]bool{}
	next := 0
	for round := range 4 {
		cmd := start("1h")
		client := pb.NewNotificationClient(enginetest.Dial(t, dir, "mail_notification.sock"))
		ctx, end := context.WithCancel(t.Context()) // calls wait for a plugin that is gone
		var mu sync.Mutex
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				for {
					mu.Lock()
					next++
					n := next
					mu.Unlock()
					id := fmt.Sprint("m", n)
					if n > 900 {
						return
					}
					if _, err := client.Notify(ctx, message(id, `{"severity":"high"}`)); err != nil {
						return
					}
					mu.Lock()
					ledger[id] = true
					mu.Unlock()
				}
			})
		}
		within(t, "some are kept", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(ledger) > (round+1)*40
		})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		end()
		calls.Wait()
	}
	if len(o.all()) != 0 {
		t.Error("mailed too early")
	}
	cmd := start("1s")
	within(t, "all are mailed", func() bool {
		got := mailed(t, o)
		for id := range ledger {
			if got[id] == 0 {
				return false
			}
		}
		return true
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for id, n := range mailed(t, o) {
		if n != 1 {
			t.Errorf("%s was mailed %d times", id, n)
		}
	}
	t.Logf("4 kills: %d messages were acknowledged, %d mailed in %d mails", len(ledger), len(mailed(t, o)), len(o.all()))
	if _, err := os.Stat(filepath.Join(dir, "state", "mail", "spool.damaged")); err == nil {
		t.Error("a kill looks like damage")
	}
}
