package config

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Bundle is all that nodes read of a pipeline and a rules folder: pipeline
// files, rules and cases, by names such as "pipeline/a.yaml", sorted.
type Bundle []Source

// bundled are the folders that a bundle holds.
var bundleFolders = []string{"pipeline", "rules"}

// ReadBundle reads the folders pipeline and rules below dir; one of them may be
// missing. The report says which of their files are not read and why.
func ReadBundle(dir string) (Bundle, Report) {
	var b Bundle
	var report Report
	add := func(sources []Source) {
		for _, s := range sources {
			name, err := filepath.Rel(dir, s.Name)
			if err == nil {
				b = append(b, Source{filepath.ToSlash(name), s.Data})
			}
		}
	}
	for _, folder := range bundleFolders {
		in := filepath.Join(dir, folder)
		if _, err := os.Stat(in); err != nil {
			continue
		}
		read := PipelineFiles
		if folder == "rules" {
			read = RuleFiles
		}
		sources, found := read(in)
		add(sources)
		report = append(report, found...)
		cases, err := FindCases([]string{in})
		if err != nil {
			continue // what cannot be listed is in the report
		}
		for _, path := range cases {
			if s, err := ReadSource(path); err == nil {
				add([]Source{{path, s.Data}})
			}
		}
	}
	slices.SortFunc(b, func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	b = slices.CompactFunc(b, func(a, b Source) bool { return a.Name == b.Name })
	return b, report
}

// Pipelines are the files of the bundle that are read as pipeline files, in the
// order in which they are.
func (b Bundle) Pipelines() []Source {
	files := slices.DeleteFunc(slices.Clone(b), func(f Source) bool {
		return !strings.HasPrefix(f.Name, "pipeline/") || path.Ext(f.Name) != ".yaml" || isCases(f.Name)
	})
	SortSources(files)
	return files
}

// Equal reports whether two bundles hold the same files.
func (b Bundle) Equal(other Bundle) bool {
	return slices.EqualFunc(b, other, func(a, b Source) bool { return a.Name == b.Name && bytes.Equal(a.Data, b.Data) })
}

// Encode is the bundle as bytes, a tar archive; equal bundles give equal bytes.
func (b Bundle) Encode() ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range b {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: 0o640, Size: int64(len(f.Data))}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("bundle %s: %w", f.Name, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, fmt.Errorf("bundle %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return out.Bytes(), nil
}

// DecodeBundle reads what Encode made. It takes no name that leads out of the
// two folders, and nothing but plain files.
func DecodeBundle(data []byte) (Bundle, error) {
	var b Bundle
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		switch {
		case h.Typeflag != tar.TypeReg || !bundleName(h.Name):
			return nil, fmt.Errorf("bundle: %q cannot be in one: it holds .yaml and .yml files below pipeline and rules", h.Name)
		case h.Size > maxFileSize:
			return nil, fmt.Errorf("bundle: %s is larger than %s", h.Name, Size(maxFileSize))
		case len(b) > 0 && h.Name <= b[len(b)-1].Name:
			return nil, fmt.Errorf("bundle: %s is not in its place", h.Name)
		case len(b) == 2*maxFiles:
			return nil, fmt.Errorf("bundle: it has more than %d files", 2*maxFiles)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("bundle: %s: %w", h.Name, err)
		}
		b = append(b, Source{h.Name, text})
	}
	return b, nil
}

func bundleName(name string) bool {
	folder, rest, ok := strings.Cut(name, "/")
	return ok && rest != "" && slices.Contains(bundleFolders, folder) && path.Clean(name) == name &&
		filepath.IsLocal(filepath.FromSlash(name)) && slices.Contains([]string{".yaml", ".yml"}, path.Ext(name))
}
