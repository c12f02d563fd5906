package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Spec says how to run one plugin as a process.
type Spec struct {
	// Name is what the plugin is served and logged under. It is in the
	// plugin's environment as EPMESH_PLUGIN_NAME.
	Name string
	// Argv is the command; Argv[0] is a path.
	Argv []string
	// Env is added to the environment that every plugin gets, as KEY=VALUE.
	Env []string
	// Dir is where it runs; the work dir if empty.
	Dir string
	// Once: exit code 0 is the end of its work however long that took. It is
	// not started again.
	Once bool
	// Singleton: it runs only under a Tenure.
	Singleton bool

	// stamp changes when the executable's file does.
	stamp string
}

func (s Spec) equal(o Spec) bool {
	return s.Name == o.Name && slices.Equal(s.Argv, o.Argv) && slices.Equal(s.Env, o.Env) &&
		s.Dir == o.Dir && s.Once == o.Once && s.Singleton == o.Singleton && s.stamp == o.stamp
}

func (s Spec) check() error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return fmt.Errorf("plugin %q has no command", s.Name)
	}
	return nil
}

// checkSpecs reports everything that is wrong with a set of specs.
func checkSpecs(specs []Spec) error {
	var errs []error
	names := make(map[string]bool, len(specs))
	for _, s := range specs {
		errs = append(errs, s.check())
		if names[s.Name] {
			errs = append(errs, fmt.Errorf("plugin %q is there twice; rename one", s.Name))
		}
		names[s.Name] = true
	}
	return errors.Join(errs...)
}

// executableSuffix marks the files that a node starts.
const executableSuffix = ".plugin"

// executables finds the plugins below dir: executable files named <name>.plugin.
// problems maps the path of each one that cannot be started to the reason.
func executables(dir string) (specs []Spec, problems map[string]string) {
	problems = make(map[string]string)
	root, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problems
	}
	if err != nil {
		problems[dir] = err.Error()
		return nil, problems
	}
	taken := make(map[string]string)
	// The callback never returns an error, so the walk covers what is readable.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			problems[path] = err.Error()
			return nil
		}
		name, ok := strings.CutSuffix(d.Name(), executableSuffix)
		if !ok || d.IsDir() {
			return nil
		}
		target, stamp, err := executable(root, path)
		switch {
		case err == nil:
			err = CheckName(name)
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone since, or a link to nothing
		}
		if err == nil && taken[name] != "" {
			err = fmt.Errorf("%s has the same name and is started; rename one", taken[name])
		}
		if err != nil {
			problems[path] = err.Error()
			return nil
		}
		taken[name] = path
		specs = append(specs, Spec{Name: name, Argv: []string{target}, stamp: stamp})
		return nil
	})
	return specs, problems
}

// executable resolves path to the file that is run, which must lie below root.
func executable(root, path string) (target, stamp string, err error) {
	target, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(target, strings.TrimSuffix(root, "/")+"/") {
		return "", "", fmt.Errorf("is a link out of the folder of plugins, to %s; copy the file instead", target)
	}
	info, err := os.Stat(target)
	if err != nil {
		return "", "", err
	}
	if !info.Mode().IsRegular() {
		return "", "", errors.New("is not a regular file")
	}
	if unix.Access(target, unix.X_OK) != nil {
		return "", "", fmt.Errorf("is not executable by this node; chmod +x %s", path)
	}
	return target, fmt.Sprint(inode(info), info.Size(), info.ModTime().UnixNano()), nil
}
