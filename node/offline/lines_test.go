package offline

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Lines, however their bytes come, are what they are; of long ones nothing is
// lost.
func TestLines(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, tt := range []struct {
		in   string
		want []string // ! marks one that is too long
	}{
		{"", nil},
		{"\n", []string{""}},
		{"a\nb", []string{"a", "b"}},
		{"a\r\n\r\nb\r", []string{"a", "", "b"}},
		{"\ufeffa\n\ufeffb\n", []string{"a", "\ufeffb"}},
		{"1234567890\n12345678901\n2\n", []string{"1234567890", "!12345678901", "2"}},
		{"1234567890\r\n12345678901\r\n2\n", []string{"1234567890", "!12345678901", "2"}},
		{long + "\r" + long + "\r\n\n" + long, []string{"!" + long + "\r" + long, "", "!" + long}},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(tt.in), "by bytes": iotest.OneByteReader(strings.NewReader(tt.in)),
			"with its end": iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			l := newLines(r, 10)
			var got []string
			for {
				line, isLong, err := l.next(nil)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				text := string(line)
				if isLong {
					text = "!"
					if err := l.rest(line, func(b []byte) error { text += string(b); return nil }); err != nil {
						t.Fatal(err)
					}
				}
				got = append(got, text)
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") || l.n != len(tt.want) {
				t.Errorf("%.30q %s: %.100q, want %.100q", tt.in, name, got, tt.want)
			}
		}
	}
}

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		in     string
		number int
		want   string
		at     int
		err    error
	}{
		{"\n \na\nb\n", 0, "a", 3, nil},
		{"\n \na\nb\n", 4, "b", 4, nil},
		{"\n \na\nb\n", 1, "", 1, nil},
		{"a\n", 2, "", 0, io.EOF},
		{"", 0, "", 0, io.EOF},
	} {
		line, at, err := Line(strings.NewReader(tt.in), tt.number)
		if string(line) != tt.want || !errors.Is(err, tt.err) || err == nil && at != tt.at {
			t.Errorf("%q, %d: %q at %d, %v", tt.in, tt.number, line, at, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"1","@timestamp":"T","x":[{"y":1}]}`))
	f.Add([]byte("{\"raw\":\"\xff\"}"))
	f.Add([]byte(`{"raw":"\u0000\ud800"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		log, _, err := Decode(line)
		if (log == nil) == (err == nil) || err != nil && !errors.Is(err, ErrNoLog) {
			t.Errorf("%q: %v, %v", line, log, err)
		}
	})
}
