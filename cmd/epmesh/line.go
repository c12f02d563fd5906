package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/epmesh/epmesh/bridge"
	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/term"
	"google.golang.org/protobuf/proto"
)

// itemLine is an item as one line for people.
func itemLine(at time.Time, m proto.Message) string {
	head := at.Local().Format(time.TimeOnly) + "  "
	switch m := m.(type) {
	case *pb.Log:
		return head + fmt.Sprintf("%-12s %-20s %s", m.GetDataType(), m.GetDataSource(), m.GetRaw())
	case *pb.Handover:
		return head + fmt.Sprintf("pipeline %d step %d  %s", m.GetDraft().GetPipeline(), m.GetDraft().GetStep(), m.GetDraft().GetLog())
	case *pb.Event:
		return head + fmt.Sprintf("%-12s %-20s %s", m.GetDataType(), m.GetDataSource(), eventText(m))
	case *pb.Alert:
		return head + alertText(m)
	case *pb.Message:
		return head + fmt.Sprintf("%-16s %s", m.GetTopic(), messageText(m.GetMessage()))
	}
	return head + fmt.Sprint(m)
}

// eventText says who did what to whom; where the event does not tell, its raw
// text does.
func eventText(e *pb.Event) string {
	var words []string
	for _, w := range []string{e.GetAction(), e.GetActionResult()} {
		if w != "" {
			words = append(words, w)
		}
	}
	if from, to := sideName(e.GetOrigin()), sideName(e.GetTarget()); from != "" || to != "" {
		words = append(words, arrow(from, to))
	}
	if n := len(e.GetErrors()); n > 0 {
		words = append(words, fmt.Sprintf("[%s: %s]", count(n, "error"), e.GetErrors()[0]))
	}
	if len(words) == 0 {
		return e.GetRaw()
	}
	return strings.Join(words, " ")
}

// alertText is such as "HIGH    SSH brute force  203.0.113.7 -> web-1 (10 events)".
func alertText(a *pb.Alert) string {
	text := fmt.Sprintf("%-7s %s", strings.ToUpper(cmp.Or(a.GetSeverity(), "-")), a.GetName())
	if from, to := sideName(a.GetAdversary()), cmp.Or(sideName(a.GetTarget()), a.GetDataSource()); from != "" || to != "" {
		text += "  " + arrow(from, to)
	}
	if n := len(a.GetEvents()); n > 0 {
		text += fmt.Sprintf(" (%s)", count(n, "event"))
	}
	return text
}

func arrow(from, to string) string {
	return strings.TrimSpace(cmp.Or(from, "?") + " -> " + cmp.Or(to, "?"))
}

// sideName is the user and the address of a side, as far as they are known.
func sideName(s *pb.Side) string {
	name := cmp.Or(s.GetIp(), s.GetHost(), s.GetDomain(), s.GetUrl())
	switch user := s.GetUser(); {
	case user == "" || user == name:
		return name
	case name == "":
		return user
	default:
		return user + "@" + name
	}
}

// messageText is what a message says: its summary, if it is JSON that has one,
// else itself.
func messageText(text string) string {
	var body struct {
		Summary string `json:"summary"`
	}
	if json.Unmarshal([]byte(text), &body) == nil && body.Summary != "" {
		return body.Summary
	}
	return text
}

func deadLine(d bridge.DeadLetter) string {
	return fmt.Sprintf("%s  %s  after %s: %s", d.Time.Local().Format(time.TimeOnly), at(d.Stage, d.Plugin), count(d.Attempts, "attempt"), d.Reason)
}

// at names a stage and its plugin.
func at(stage, plugin string) string {
	if plugin == "" {
		return stage
	}
	return stage + "/" + plugin
}

func count[N int | int64 | uint64](n N, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// printable keeps what was written by others from doing anything to a terminal
// but being read.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// fit is a text as one line of at most width characters.
func fit(s string, width int) string {
	// What cannot be seen need not be looked at: four bytes a character at most.
	if len(s) > 4*width {
		s = s[:4*width]
	}
	line := []rune(printable(strings.ToValidUTF8(s, " ")))
	if len(line) > width {
		return string(line[:width-1]) + "…"
	}
	return strings.TrimRight(string(line), " ")
}

// pipedWidth is the width of a line that goes to no terminal.
const pipedWidth = 300

// width is how long a line may be to be read well.
func width(w any) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns >= 20 {
			return columns
		}
	}
	return pipedWidth
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
