package main

import "github.com/epmesh/epmesh/config"

type schemaCmd struct {
	Of string `arg:"" enum:"pipeline,rules,cases" help:"Of which files: pipeline, rules or cases."`
}

func (schemaCmd) Help() string {
	return `Editors that know JSON Schema complete and check YAML by it. Save it, and name it in a file's first
line, or in the editor's settings; docs/commands.md shows how.

Example:
  epmesh schema pipeline >pipeline.schema.json
  # yaml-language-server: $schema=../pipeline.schema.json

  epmesh schema rules >rules.schema.json
  epmesh schema cases >cases.schema.json`
}

func (c *schemaCmd) Run(a *app) error {
	text := map[string]func() []byte{"pipeline": config.PipelineSchema, "rules": config.RuleSchema, "cases": config.CaseSchema}[c.Of]
	_, err := a.stdout.Write(text())
	return err
}
