package plugin_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/epmesh/epmesh/node/plugin"
)

// roles are what this test binary can be started again as.
var roles = map[string]func(args []string) int{
	"guard": func(args []string) int { return plugin.GuardMain(args[0]) },
	"node":  fakeNode,
	"exit": func(args []string) int {
		code, _ := strconv.Atoi(args[0])
		return code
	},
	// print LINE...: and then run until SIGTERM.
	"print": func(args []string) int {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		for _, line := range args {
			fmt.Println(line)
		}
		<-stop
		return 0
	},
	// flood N: lines.
	"flood": func(args []string) int {
		n, _ := strconv.Atoi(args[0])
		w := bufio.NewWriter(os.Stdout)
		for i := range n {
			fmt.Fprintln(w, "line", i)
		}
		w.Flush()
		fmt.Println(`{"@level":"info","@message":"listening","network":"udp","address":"127.0.0.1:514"}`)
		select {}
	},
	"environ": func([]string) int {
		dir, _ := os.Getwd()
		fmt.Println("cwd " + dir)
		for _, e := range os.Environ() {
			fmt.Println("env " + e)
		}
		select {}
	},
	// family FILE [deaf]: a plugin with a child in its group. Both write their
	// process ids to FILE, and deaf ones do not hear SIGTERM.
	"family": func(args []string) int {
		if len(args) > 1 {
			signal.Ignore(syscall.SIGTERM)
		}
		child := exec.Command(os.Args[0], append([]string{"role", "child"}, args...)...)
		if err := child.Start(); err != nil {
			return 1
		}
		writePID(args[0])
		select {}
	},
	"child": func(args []string) int {
		if len(args) > 1 {
			signal.Ignore(syscall.SIGTERM)
		}
		writePID(args[0])
		select {}
	},
	// wrapper FILE: ends on SIGTERM at once; its child takes a moment and then
	// writes "drained" to FILE.
	"wrapper": func(args []string) int {
		child := exec.Command(os.Args[0], "role", "drainer", args[0])
		if err := child.Start(); err != nil {
			return 1
		}
		select {}
	},
	"drainer": func(args []string) int {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		writePID(args[0])
		<-stop
		// Work that outlasts the wrapper.
		for os.Getppid() != 1 && !orphaned() {
			time.Sleep(time.Millisecond)
		}
		appendLine(args[0], "drained")
		return 0
	},
}

var parent = os.Getppid()

func orphaned() bool { return os.Getppid() != parent }

func writePID(file string) { appendLine(file, strconv.Itoa(os.Getpid())) }

func appendLine(file, line string) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		panic(err)
	}
}

// fakeNode WORKDIR FILE runs a family until it is killed.
func fakeNode(args []string) int {
	ps := plugin.NewProcesses(plugin.ProcessOptions{
		WorkDir: args[0], Guard: guardArgv(),
		Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Debug}),
	})
	if err := ps.Apply([]plugin.Spec{role("family", args[1], "deaf")}); err != nil {
		return 1
	}
	if err := ps.Serve(context.Background()); err != nil {
		return 1
	}
	return 0
}

func guardArgv() []string {
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", os.Args[0], "role", "guard"}
}

// role is a plugin of the role's name.
func role(name string, args ...string) plugin.Spec {
	return plugin.Spec{Name: name, Argv: slices.Concat([]string{os.Args[0], "role", name}, args)}
}

// readLines are the lines of a file that processes append to.
func readLines(t testing.TB, file string) []string {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// running reports whether a process runs; one that waits to be reaped does not.
func running(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
