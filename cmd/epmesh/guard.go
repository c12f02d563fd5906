package main

import "github.com/epmesh/epmesh/node/plugin"

type guardCmd struct {
	Lock string `arg:"" help:"Path of the lock file."`
}

func (guardCmd) Help() string { return "Example:\n  epmesh guard WORK_DIR/run/guard.lock" }

func (c *guardCmd) Run(*app) error {
	if plugin.GuardMain(c.Lock) != 0 {
		return errSilent // it has said why
	}
	return nil
}
