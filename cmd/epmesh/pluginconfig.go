package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// configFile is a file that a checked plugin finds in its work dir.
type configFile struct {
	from string // where it is
	to   string // from the work dir
}

// maxConfig bounds what a plugin that is checked gets to read.
const maxConfig = 512 << 20

// configFolders are what a plugin may read of a work dir.
var configFolders = []string{"pipeline", "rules", "geolocation"}

// configFiles finds what the paths of --config name.
func configFiles(paths []string) ([]configFile, error) {
	var files []configFile
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			name := filepath.Base(path)
			if !strings.HasSuffix(name, ".yaml") {
				return nil, fmt.Errorf("%s: pipeline files end in .yaml, others are not read", path)
			}
			files = append(files, configFile{path, filepath.Join("pipeline", name)})
			continue
		}
		found := 0
		for _, folder := range configFolders {
			more, err := filesBelow(path, folder)
			if err != nil {
				return nil, err
			}
			files = append(files, more...)
			found += len(more)
		}
		if found == 0 {
			return nil, fmt.Errorf("%s: a work dir has files in pipeline, rules or geolocation; this folder has none", path)
		}
	}
	return files, nil
}

func filesBelow(root, folder string) ([]configFile, error) {
	var files []configFile
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		to, err := filepath.Rel(root, path)
		files = append(files, configFile{path, to})
		return err
	})
	return files, err
}

// copyConfig puts the files into a work dir.
func copyConfig(files []configFile, workDir string) error {
	left := int64(maxConfig)
	for _, f := range files {
		text, err := os.ReadFile(f.from)
		if err != nil {
			return err
		}
		if left -= int64(len(text)); left < 0 {
			return fmt.Errorf("the files of --config have more than %d MiB", maxConfig>>20)
		}
		to := filepath.Join(workDir, f.to)
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o640); err != nil {
			return err
		}
	}
	return nil
}
