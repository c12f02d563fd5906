package plugin

import (
	"context"
	"time"
)

// Tenure is a process's time to run. That of a singleton ends when another node
// may start it.
type Tenure struct {
	// Env is added to the environment of the process, as KEY=VALUE.
	Env []string
	// Ending ends when the process has to begin to end; Until, which grows while
	// the tenure is renewed, is when it is killed.
	Ending context.Context
	Until  func() time.Time
	// Release is called once, when the process and all of its group have ended.
	Release func()
}

// boundEvery is how often the guard is told until when a singleton may run.
const boundEvery = 500 * time.Millisecond

// tenure waits for the process's time to run. It gives none where the process is
// not to run any more.
func (p *process) tenure() *Tenure {
	if !p.spec.Singleton {
		return &Tenure{Ending: context.Background(), Release: func() {}}
	}
	if p.set.opts.Tenure == nil {
		p.log.Error("a singleton cannot be run: there is nobody to say where")
		<-p.ctx.Done()
		return nil
	}
	p.ended(Standby, p.lastEnd())
	for told := false; p.ctx.Err() == nil; {
		t, err := p.set.opts.Tenure(p.ctx, p.spec.Name)
		if err == nil {
			return t
		}
		if !told && p.ctx.Err() == nil {
			told = true
			p.log.Warn("singleton cannot be started yet, trying again", "error", err)
		}
		timer := time.NewTimer(p.set.opts.RestartMin)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

func (p *process) lastEnd() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastExit
}

// watch tells the guard until when the process may run, again and again, until
// the returned function is called.
func (t *Tenure) watch(g *guard, pgid int) (stop func()) {
	if t.Until == nil || g == nil {
		return func() {}
	}
	g.bound(pgid, t.Until())
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(boundEvery)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				g.bound(pgid, t.Until())
			}
		}
	}()
	return func() { close(ended); <-done }
}
