package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/cases"
)

// The JUnit form that CI systems read: a suite a file. They differ in what they
// look at, so the place of a failure is given wherever one looks.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		File     string      `xml:"file,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Classname string        `xml:"classname,attr"`
		File      string        `xml:"file,attr"`
		Line      int           `xml:"line,attr,omitempty"`
		Time      string        `xml:"time,attr"`
		Failure   *junitFailure `xml:"failure"`
		Error     *junitFailure `xml:"error"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		File    string `xml:"file,attr"`
		Line    int    `xml:"line,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes the results to a file. Characters that XML cannot hold
// become U+FFFD.
func writeJUnit(path string, files []cases.File) error {
	text, err := xml.MarshalIndent(junit(files), "", "  ")
	if err == nil {
		err = os.WriteFile(path, append([]byte(xml.Header), append(text, '\n')...), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write JUnit file: %w", err)
	}
	return nil
}

func junit(files []cases.File) junitSuites {
	all := junitSuites{Name: "epmesh test"}
	var took time.Duration
	for i := range files {
		f := &files[i]
		s := junitSuite{Name: f.Path, File: f.Path, Tests: len(f.Results), Failures: f.Failed(), Time: seconds(f.Time)}
		class := strings.ReplaceAll(strings.TrimSuffix(filepath.ToSlash(f.Path), config.CaseSuffix), "/", ".")
		if errs := f.Problems.Errors(); len(errs) > 0 {
			s.Tests, s.Errors = 1, 1
			s.Cases = append(s.Cases, junitCase{
				Name: "its cases can be run", Classname: class, File: f.Path, Time: seconds(0),
				Error: &junitFailure{errs[0].Message, "problem", errs[0].Position.File, errs[0].Position.Line, errs.String()},
			})
		}
		for j := range f.Results {
			s.Cases = append(s.Cases, junitOf(&f.Results[j], class))
		}
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		took += f.Time
		all.Suites = append(all.Suites, s)
	}
	all.Time = seconds(took)
	return all
}

func junitOf(r *cases.Result, class string) junitCase {
	at := r.Case.Position
	c := junitCase{Name: r.Case.Name, Classname: class, File: at.File, Line: at.Line, Time: seconds(r.Time)}
	if r.Passed() {
		return c
	}
	lines := r.Lines()
	f := &junitFailure{Message: lines[0], Type: string(r.Differences[0].Kind), File: at.File, Line: at.Line}
	if n := len(r.Differences); n > 1 {
		f.Message += fmt.Sprintf(" (and %d more)", n-1)
	}
	if wanted := r.Differences[0].Position; wanted.Line > 0 {
		f.Line = wanted.Line
	}
	f.Text = at.String() + ": " + r.Case.Name + "\n" + strings.Join(lines, "\n") + "\n"
	c.Failure = f
	return c
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.6f", d.Seconds()) }
