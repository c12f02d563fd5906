// Command epmesh runs a node of the mesh and looks at running ones.
//
// Each file holds one command: its flags, and the wiring of the packages that
// do the work. docs/commands.md describes them all.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// cli are all commands. The order is that of the help.
type cli struct {
	Up      upCmd      `cmd:"" help:"Run everything on this machine: an embedded server, a node and the bundled plugins."`
	Node    nodeCmd    `cmd:"" help:"Run a node as its settings say."`
	Parse   parseCmd   `cmd:"" help:"Make events of logs without a node, and show what each step does."`
	Test    testCmd    `cmd:"" help:"Run pipeline cases: logs, and what is wanted of their events."`
	Check   checkCmd   `cmd:"" help:"Find mistakes in pipeline files, rules and settings."`
	Status  statusCmd  `cmd:"" help:"Show nodes, plugins, stages and streams."`
	Tap     tapCmd     `cmd:"" help:"Show what passes a stage, live."`
	Dead    deadCmd    `cmd:"" help:"Look at dead letters, replay or delete them."`
	Prune   pruneCmd   `cmd:"" help:"Delete a consumer that no node serves, and what is kept for it."`
	Plugin  pluginCmd  `cmd:"" help:"List and run the bundled plugins."`
	Schema  schemaCmd  `cmd:"" help:"Print a JSON Schema of pipeline, rule or case files, for editors."`
	Version versionCmd `cmd:"" help:"Show which epmesh this is."`
	Guard   guardCmd   `cmd:"" hidden:"" help:"Used by the node: see that no plugin outlives it."`
}

// app is what every command is given.
type app struct {
	// ctx ends with the first SIGINT or SIGTERM.
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
}

// parser reads command lines into commands.
func parser(commands *cli, stdout, stderr io.Writer) (*kong.Kong, error) {
	return kong.New(commands,
		kong.Name("epmesh"),
		kong.Description("Logs in, events, alerts and messages out: plugins on many hosts, bridged by NATS JetStream."),
		kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
	)
}

// run is the whole program; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var commands cli
	p, err := parser(&commands, stdout, stderr)
	if err != nil {
		return report(stderr, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	chosen, err := p.Parse(args)
	if err != nil {
		return report(stderr, parseError(err))
	}
	a := &app{ctx: context.Background(), stdin: os.Stdin, stdout: stdout, stderr: stderr}
	if chosen.Selected().Name != "guard" { // which minds no signal
		a.ctx = untilSignal()
	}
	return report(stderr, chosen.Run(a))
}

// untilSignal is a context that ends with the first SIGINT or SIGTERM. A second
// one ends the process at once.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(codeInterrupted)
	}()
	return ctx
}
