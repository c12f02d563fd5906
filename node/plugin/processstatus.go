package plugin

import "time"

// ProcessState is how the process of a plugin stands.
type ProcessState string

// The states of a process.
const (
	Standby      ProcessState = "standby" // a singleton that runs on another node
	Starting     ProcessState = "starting"
	Running      ProcessState = "running"
	Stopping     ProcessState = "stopping"
	BackingOff   ProcessState = "backing-off"   // ended, will be started again
	CrashLooping ProcessState = "crash-looping" // keeps ending soon after its start
	Idle         ProcessState = "idle"          // said by exit code 0 that it is not for this node
	Done         ProcessState = "done"          // has done its work
)

// Listening is an address that a plugin said it listens on.
type Listening struct {
	Network string `json:"network"`
	Address string `json:"address"`
}

// ProcessStatus is how one process stands.
type ProcessStatus struct {
	Name     string       `json:"name"`
	State    ProcessState `json:"state"`
	Since    time.Time    `json:"since"` // of the state
	PID      int          `json:"pid,omitempty"`
	Restarts uint64       `json:"restarts"`
	LastExit string       `json:"lastExit,omitempty"`
	// LastLine is the last that it wrote to standard error, in this run or, as
	// long as it has written nothing, one before; shortened.
	LastLine string `json:"lastLine,omitempty"`
	// Suppressed counts the lines of its present or last run that were not
	// logged because there were too many.
	Suppressed uint64 `json:"suppressed,omitempty"`
	// Listening are the addresses that the present run has announced.
	Listening []Listening `json:"listening,omitempty"`
}

func (p *process) status() ProcessStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := ProcessStatus{
		Name: p.spec.Name, State: p.state, Since: p.since, PID: p.pid,
		Restarts: p.restarts, LastExit: p.lastExit,
	}
	// A run of a crash loop is not a recovery before it has lasted.
	if p.state == Running && p.failures >= crashLoop && time.Since(p.started) < healthyAfter {
		s.State = CrashLooping
	}
	if p.output != nil {
		s.LastLine, s.Suppressed = p.output.last()
		if p.pid != 0 {
			s.Listening = p.output.addresses()
		}
	}
	return s
}
