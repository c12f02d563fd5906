package node

import (
	"github.com/epmesh/epmesh/config"
	"github.com/hashicorp/go-hclog"
)

// Options say what a node is to run.
type Options struct {
	Settings config.Settings
	Version  string
	Logger   hclog.Logger

	// Bundled is the command that runs a bundled plugin under a served name.
	Bundled func(bundled, served string) []string
	// Guard is the command that runs plugin.GuardMain; nil for none.
	Guard []string
	// Ready is called once everything that the configuration asks for runs; nil
	// for nothing.
	Ready func(Addresses)
}
