package config

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// maxCompared bounds the work of comparing two files line by line; beyond it
// the one is shown as replaced by the other.
const maxCompared = 16 << 20

// diffContext is how many unchanged lines stand around changed ones.
const diffContext = 3

// Diff is what turns one bundle into another, as unified diffs of their files.
// Values of settings that look like secrets are left out, though it shows that
// they differ.
func Diff(from, to Bundle) string {
	var out strings.Builder
	i, j := 0, 0
	for i < len(from) || j < len(to) {
		switch {
		case j == len(to) || i < len(from) && from[i].Name < to[j].Name:
			diffFile(&out, from[i].Name, "/dev/null", from[i].Data, nil)
			i++
		case i == len(from) || from[i].Name > to[j].Name:
			diffFile(&out, "/dev/null", to[j].Name, nil, to[j].Data)
			j++
		default:
			if !bytes.Equal(from[i].Data, to[j].Data) {
				diffFile(&out, from[i].Name, to[j].Name, from[i].Data, to[j].Data)
			}
			i, j = i+1, j+1
		}
	}
	return out.String()
}

func diffFile(out *strings.Builder, from, to string, a, b []byte) {
	x, y := textLines(a), textLines(b)
	fmt.Fprintf(out, "--- %s\n+++ %s\n", from, to)
	edits := compare(x, y)
	hiddenX, hiddenY := redactLines(x), redactLines(y)
	for at := 0; at < len(edits); {
		if edits[at].op == ' ' {
			at++
			continue
		}
		// A hunk ends where enough lines are the same.
		begin, end, same := max(at-diffContext, 0), at, 0
		for ; end < len(edits) && same <= 2*diffContext; end++ {
			if same++; edits[end].op != ' ' {
				same = 0
			}
		}
		end -= max(same-diffContext, 0)
		hunk := edits[begin:end]
		n, m := 0, 0
		for _, e := range hunk {
			if e.op != '+' {
				n++
			}
			if e.op != '-' {
				m++
			}
		}
		fmt.Fprintf(out, "@@ -%s +%s @@\n", span(hunk[0].x, n), span(hunk[0].y, m))
		for _, e := range hunk {
			text := ""
			if e.op == '+' {
				text = hiddenY[e.y]
			} else {
				text = hiddenX[e.x]
			}
			fmt.Fprintf(out, "%c%s\n", e.op, text)
		}
		at = end
	}
}

func span(from, n int) string {
	if n == 0 {
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, n)
}

func textLines(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// lineEdit is one line of a comparison: kept ' ', taken out '-' or put in '+', and
// where both texts stand then.
type lineEdit struct {
	op   byte
	x, y int
}

// compare finds a longest common sequence of lines.
func compare(x, y []string) []lineEdit {
	begin := 0
	for begin < min(len(x), len(y)) && x[begin] == y[begin] {
		begin++
	}
	end := 0
	for end < min(len(x), len(y))-begin && x[len(x)-1-end] == y[len(y)-1-end] {
		end++
	}
	a, b := x[begin:len(x)-end], y[begin:len(y)-end]
	var edits []lineEdit
	i, j := 0, 0
	put := func(op byte) {
		edits = append(edits, lineEdit{op, i, j})
		if op != '+' {
			i++
		}
		if op != '-' {
			j++
		}
	}
	for range begin {
		put(' ')
	}
	var common func(i, j int) int32
	if len(a)*len(b) <= maxCompared {
		common = commonLines(a, b)
	} else {
		common = func(int, int) int32 { return 0 }
	}
	for p, q := 0, 0; p < len(a) || q < len(b); {
		switch {
		case p < len(a) && q < len(b) && a[p] == b[q]:
			put(' ')
			p, q = p+1, q+1
		case q == len(b) || p < len(a) && common(p+1, q) >= common(p, q+1):
			put('-')
			p++
		default:
			put('+')
			q++
		}
	}
	for range end {
		put(' ')
	}
	return edits
}

// commonLines tells how many lines two texts have in common from these on, in
// order.
func commonLines(a, b []string) func(i, j int) int32 {
	width := len(b) + 1
	table := make([]int32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i*width+j] = table[(i+1)*width+j+1] + 1
			} else {
				table[i*width+j] = max(table[(i+1)*width+j], table[i*width+j+1])
			}
		}
	}
	return func(i, j int) int32 { return table[i*width+j] }
}

var (
	secretKey = regexp.MustCompile(`(?i)["']?[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization|cookie)[\w.-]*["']?\s*:`)
	secretURL = regexp.MustCompile(`(\w+://)[^/\s"'@]+@`)
)

// redactLines leaves out the values of keys that look like those of secrets,
// with all that lies below them, and what in a URL is before the host.
func redactLines(text []string) []string {
	out := make([]string, len(text))
	below := -1 // the indentation of the key whose value is left out
	for i, line := range text {
		depth := len(line) - len(strings.TrimLeft(line, " -"))
		if below >= 0 && (strings.TrimSpace(line) == "" || depth > below) {
			if out[i] = line; strings.TrimSpace(line) != "" {
				out[i] = line[:depth] + "xxxxx"
			}
			continue
		}
		below = -1
		out[i] = secretURL.ReplaceAllString(line, "${1}xxxxx@")
		if at := secretKey.FindStringIndex(line); at != nil && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			out[i] = line[:at[1]]
			if strings.TrimSpace(line[at[1]:]) != "" {
				out[i] += " xxxxx"
			}
			below = depth
		}
	}
	return out
}
