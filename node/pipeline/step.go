package pipeline

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
	"github.com/epmesh/epmesh/node/pattern"
	pb "github.com/epmesh/epmesh/proto"
)

// action is what a step does to a draft. It is used by many goroutines at once.
type action interface {
	// apply edits the draft. An error is added to the event's errors.
	apply(d *draft) error
}

// step is one compiled step: a condition, and an action, a drop or a dynamic.
type step struct {
	label   string // how errors name it
	where   *expr.Program
	broken  error // why the step cannot be run
	action  action
	drop    bool
	dynamic *pb.Step
}

// compiler compiles steps and gathers their problems.
type compiler struct {
	options  Options
	patterns pattern.Set
	matchers map[string]*matcher // of patterns met before
	problems []Problem
}

// compile compiles the j-th step of a pipeline.
func (c *compiler) compile(configured config.Step, j int) *step {
	st := &step{label: label(configured, j)}
	where, err := c.build(st, configured.Proto)
	if err != nil {
		st.broken = err
		c.problem(configured, err)
	}
	if where = strings.TrimSpace(where); where != "" {
		if st.where, err = expr.CompileWith(where, c.patterns); err != nil {
			st.where, st.broken = nil, fmt.Errorf("where: %w", err)
			c.problem(configured, st.broken)
		}
	}
	return st
}

func (c *compiler) problem(configured config.Step, err error) {
	c.problems = append(c.problems, Problem{configured.Position, configured.Kind, err})
}

// build gives the step its action and returns its condition.
func (c *compiler) build(st *step, p *pb.Step) (where string, err error) {
	switch {
	case p.GetJson() != nil:
		st.action, where = c.json(p.GetJson()), p.GetJson().GetWhere()
	case p.GetKv() != nil:
		st.action, err = c.kv(p.GetKv())
		where = p.GetKv().GetWhere()
	case p.GetCsv() != nil:
		st.action, err = c.csv(p.GetCsv())
		where = p.GetCsv().GetWhere()
	case p.GetXml() != nil:
		st.action, where = c.xml(p.GetXml()), p.GetXml().GetWhere()
	case p.GetGrok() != nil:
		st.action, err = c.grok(p.GetGrok())
		where = p.GetGrok().GetWhere()
	case p.GetRename() != nil:
		st.action, err = c.rename(p.GetRename())
		where = p.GetRename().GetWhere()
	case p.GetCast() != nil:
		st.action, err = c.cast(p.GetCast())
		where = p.GetCast().GetWhere()
	case p.GetTrim() != nil:
		st.action, err = c.trim(p.GetTrim())
		where = p.GetTrim().GetWhere()
	case p.GetReformat() != nil:
		st.action, err = c.reformat(p.GetReformat())
		where = p.GetReformat().GetWhere()
	case p.GetAdd() != nil:
		st.action, err = c.add(p.GetAdd())
		where = p.GetAdd().GetWhere()
	case p.GetDelete() != nil:
		st.action, err = c.delete(p.GetDelete())
		where = p.GetDelete().GetWhere()
	case p.GetDrop() != nil:
		st.drop, where = true, p.GetDrop().GetWhere()
	case p.GetDynamic() != nil:
		st.dynamic, where = p, p.GetDynamic().GetWhere()
		if p.GetDynamic().GetPlugin() == "" {
			err = errors.New("plugin is not set")
		}
	default:
		err = errors.New("unknown step")
	}
	return where, err
}

// label names a step by its place: "cisco.yaml:12:9: step 3 grok".
func label(configured config.Step, j int) string {
	at := configured.Position
	at.File = filepath.Base(at.File)
	kind := configured.Kind
	if kind == "" {
		kind = "unknown"
	}
	if configured.Position == (config.Position{}) {
		return fmt.Sprintf("step %d %s", j+1, kind)
	}
	return fmt.Sprintf("%s: step %d %s", at, j+1, kind)
}
