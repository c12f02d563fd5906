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
	Up        upCmd        `cmd:"" help:"Run everything on this machine: an embedded server, a node and the bundled plugins."`
	Node      nodeCmd      `cmd:"" help:"Run a node as its settings say."`
	Parse     parseCmd     `cmd:"" help:"Make events of logs without a node, and show what each step does."`
	Analyze   analyzeCmd   `cmd:"" help:"Hold events against rules without a node, and show why rules fire or do not."`
	Test      testCmd      `cmd:"" help:"Run pipeline cases: logs, and what is wanted of their events."`
	Check     checkCmd     `cmd:"" help:"Find mistakes in pipeline files, rules and settings."`
	Config    configCmd    `cmd:"" help:"Push pipeline files and rules to all nodes; look at what was pushed, and go back."`
	Status    statusCmd    `cmd:"" help:"Show nodes, plugins, stages and streams."`
	Top       topCmd       `cmd:"" help:"Show nodes and what waits for each plugin, live."`
	Health    healthCmd    `cmd:"" help:"Ask whether the node on this machine can take logs and keep them."`
	Autoscale autoscaleCmd `cmd:"" help:"Say how many instances each plugin needs at the present rate."`
	Tap       tapCmd       `cmd:"" help:"Show what passes a stage, live."`
	Verify    verifyCmd    `cmd:"" help:"Send marked logs through the mesh and see that none is lost."`
	Dead      deadCmd      `cmd:"" help:"Look at dead letters, replay or delete them."`
	Prune     pruneCmd     `cmd:"" help:"Delete a consumer that no node serves, and what is kept for it."`
	NATS      natsCmd      `cmd:"" name:"nats" help:"Set up NATS servers of your own for a mesh."`
	Plugin    pluginCmd    `cmd:"" help:"List and run the bundled plugins; make and check your own."`
	Schema    schemaCmd    `cmd:"" help:"Print a JSON Schema of pipeline, rule or case files, for editors."`
	Cert      certCmd      `cmd:"" help:"Make the certificates by which nodes know each other."`
	Version   versionCmd   `cmd:"" help:"Show which epmesh this is."`
	Guard     guardCmd     `cmd:"" hidden:"" help:"Used by the node: see that no plugin outlives it."`
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
