package main

import (
	"encoding/json"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/lint"
)

// finding is a problem as --json prints it.
type finding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

func printFindings(w io.Writer, report config.Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, p := range report {
		f := finding{p.Rule, p.Severity.String(), p.Position.File, p.Position.Line, p.Position.Column, p.Message, p.Hint}
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

func printRules(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, r := range lint.Rules() {
		err := enc.Encode(struct {
			Rule     string `json:"rule"`
			Severity string `json:"severity"`
			About    string `json:"about"`
		}{r.Name, r.Severity.String(), r.About})
		if err != nil {
			return err
		}
	}
	return nil
}

// SARIF 2.1.0, as far as findings need it.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		Results    []sarifResult `json:"results"`
		ColumnKind string        `json:"columnKind"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string        `json:"id"`
		ShortDescription sarifText     `json:"shortDescription"`
		HelpURI          string        `json:"helpUri"`
		Default          sarifSeverity `json:"defaultConfiguration"`
	}
	sarifSeverity struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
)

const checkPage = "https://github.com/epmesh/epmesh/blob/main/docs/check.md"

func printSARIF(w io.Writer, report config.Report) error {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "epmesh check", Version: readBuild().Version, InformationURI: checkPage}
	index := map[string]int{}
	for i, r := range lint.Rules() {
		index[r.Name] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{r.Name, sarifText{r.About}, checkPage + "#" + r.Name, sarifSeverity{r.Severity.String()}})
	}
	for _, p := range report {
		text := p.Message
		if p.Hint != "" {
			text += "; " + p.Hint
		}
		at := sarifPhysical{Artifact: sarifArtifact{fileURI(p.Position.File)}}
		if p.Position.Line > 0 {
			at.Region = &sarifRegion{p.Position.Line, p.Position.Column}
		}
		run.Results = append(run.Results, sarifResult{p.Rule, index[p.Rule], p.Severity.String(), sarifText{text}, []sarifLocation{{at}}})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

// fileURI is a path as code hosts want it: relative to the current folder, which
// in CI is the checkout, where it lies below it.
func fileURI(path string) string {
	if here, err := os.Getwd(); err == nil && filepath.IsAbs(path) {
		if rel, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(rel, "..") {
			path = rel
		}
	}
	u := url.URL{Path: filepath.ToSlash(filepath.Clean(path))}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
	}
	return u.String()
}
