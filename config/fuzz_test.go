package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/epmesh/epmesh/proto"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// seeds are the files of the golden archives that fit the pattern.
func seeds(f *testing.F, pattern, name string) {
	archives, err := filepath.Glob(pattern)
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if strings.HasSuffix(file.Name, name) {
				f.Add(file.Data)
			}
		}
	}
}

// Whatever a file holds, it is read in bounded time, and without an error it is
// read again to the same set.
func FuzzParse(f *testing.F) {
	seeds(f, "testdata/set/*.txtar", ".yaml")
	f.Add([]byte(aliasBomb(8)))
	f.Add([]byte(mergeBomb(4)))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, report := Parse("x.yaml", data)
		for _, p := range report {
			if p.Message == "" || p.Position.File != "x.yaml" {
				t.Errorf("a problem without words or place: %+v", p)
			}
			if p.Position.Line > 1+strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+strings.Count(string(data), "\u0085")+
				strings.Count(string(data), "\u2028")+strings.Count(string(data), "\u2029") {
				t.Errorf("beyond the end of the file: %s", p)
			}
		}
		if report.Err() != nil && (len(set.Pipelines) > 0 || len(set.Plugins) > 0 || len(set.Patterns) > 0) {
			t.Error("a file with errors left something in the set")
		}
		again, _ := Parse("x.yaml", data)
		if set.Fingerprint() != again.Fingerprint() {
			t.Error("read twice, it is two sets")
		}
	})
}

// JSON is YAML, so what protobuf's own decoder reads, this one reads alike.
func FuzzAgainstProtojson(f *testing.F) {
	for _, text := range []string{
		`{"pipeline":[{"dataTypes":["a","b"],"steps":[{"grok":{"patterns":[{"fieldName":"log.x","pattern":"\\w+"}],"source":"raw"}}]}]}`,
		`{"disabledRules":[1,"2",3.0,"4e1",18446744073709551615],"patterns":{"a":"b","c":""}}`,
		`{"tenants":[{"id":"x","assets":[{"name":"n","ips":["1.2.3.4"],"integrity":"3"}],"disabledRules":["9"]}]}`,
		`{"plugins":{"a":null,"b":true,"c":[1,-2.5e3,"x",{}],"d":{"e":{"f":[]}}},"env":{"logLevel":200}}`,
		`{"pipeline":null,"other":{"x":[1]},"patterns":{}}`,
		`{"pipeline":[{"steps":[{"dynamic":{"plugin":"p","params":{"k":{"l":"yes"}}}},{"json":{}},{}]}]}`,
		`{"disabledRules":[-1]}`,
		`{"patterns":{"a":5}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// What JSON and YAML do not share: surrogates in escapes, tabs as
		// white space, control characters.
		if !json.Valid(data) || len(data) > 1<<16 || strings.ContainsAny(string(data), "\t\r\x7f\u0085\u2028\u2029\ufeff") || strings.Contains(strings.ToLower(string(data)), `\ud`) {
			t.Skip()
		}
		want := &pb.Config{}
		err := protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, want)
		d := newDecoder("x.yaml")
		got := d.config(data)
		if err == nil {
			for _, p := range d.report {
				if p.Severity == Error && strings.Contains(p.Message, ": expected ") && !strings.HasPrefix(p.Message, meshKey) {
					t.Errorf("stricter than protobuf: %s", p)
				}
			}
		}
		if err == nil && !d.failed && !proto.Equal(want, got) {
			t.Errorf("protobuf reads %v, this %v", want, got)
		}
	})
}

func FuzzLoadSettings(f *testing.F) {
	seeds(f, "testdata/settings/*.txtar", SettingsFile)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, SettingsFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := LoadSettings(Sources{Dir: dir})
		if err == nil && (s.Node == "" || s.Stages.Attempts < 1 || !filepath.IsAbs(s.Dir)) {
			t.Errorf("took %v", s)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	f.Add("8MiB")
	f.Add(" 17 kb")
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		if again, err := ParseSize(size.String()); err != nil || again != size || size < 0 {
			t.Errorf("%q is %d, which is written %s and read %d: %v", text, size, size, again, err)
		}
	})
}
