package config

import (
	"fmt"

	pb "github.com/epmesh/epmesh/proto"
)

// Position is a place in a file; Line and Column count from 1.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Set is what all files below WORK_DIR/pipeline say together, checked. It is
// not changed after Load.
type Set struct {
	Pipelines     []Pipeline
	Patterns      map[string]string
	Tenants       []*pb.Tenant
	DisabledRules []uint64
	// Plugins holds each plugin's own settings as decoded values (maps with
	// string keys, slices, strings, float64, bool, nil).
	Plugins map[string]any
	// Order lists the plugins of the analysis, correlation and notification
	// stages, and of "output".
	Order map[string][]string
}

// Pipeline is one pipeline and where it stands.
type Pipeline struct {
	Position  Position
	DataTypes []string
	Steps     []Step
}

// Step is one step of a pipeline and where it stands. Exactly one field of
// Proto is set.
type Step struct {
	Position Position
	Kind     string // json, rename, ...
	Proto    *pb.Step
}
