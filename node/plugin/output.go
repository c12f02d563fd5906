package plugin

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
)

const (
	// maxLine is how much of one line is looked at.
	maxLine = 64 << 10
	// A plugin may log lineRate lines a second for long, lineBurst at once.
	lineRate  = 100
	lineBurst = 500
	// floodReport is between two reports of what was suppressed.
	floodReport = 5 * time.Second
	// maxListening bounds the addresses kept of one plugin.
	maxListening = 32
	// maxLastLine bounds the line kept for the status.
	maxLastLine = 300
)

// output carries what one run of a plugin writes into the node's log. It always
// reads: a plugin never blocks for writing too much, the lines are counted
// instead.
type output struct {
	log            hclog.Logger
	changed        func()
	stdout, stderr *os.File // write ends, for the plugin
	readers        [2]*os.File
	wg             sync.WaitGroup
	limit          *rate.Limiter

	mu         sync.Mutex
	listening  []Listening
	lastLine   string
	suppressed uint64
	unreported uint64
	report     *time.Timer // runs while there is something unreported
}

func newOutput(log hclog.Logger, changed func()) (*output, error) {
	o := &output{log: log, changed: changed, limit: rate.NewLimiter(lineRate, lineBurst)}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		outW.Close()
		return nil, err
	}
	o.stdout, o.stderr, o.readers = outW, errW, [2]*os.File{outR, errR}
	o.wg.Go(func() { o.read(outR, false) })
	o.wg.Go(func() { o.read(errR, true) })
	return o, nil
}

// started lets go of the ends that are the plugin's now.
func (o *output) started() {
	o.stdout.Close()
	o.stderr.Close()
}

// close reads what is left. Somebody who left the process group may hold the
// pipes open; they are not waited for longer than wait.
func (o *output) close(wait time.Duration) {
	timer := time.AfterFunc(wait, func() {
		for _, r := range o.readers {
			r.Close()
		}
	})
	o.wg.Wait()
	timer.Stop()
	for _, r := range o.readers {
		r.Close()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.report != nil {
		o.report.Stop()
	}
	o.reportLocked()
}

func (o *output) read(r *os.File, isErr bool) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		cut := 0
		if errors.Is(err, bufio.ErrBufferFull) {
			line = slices.Clone(line)
			cut, err = skipLine(lines)
		}
		if len(line) > 0 {
			o.take(bytes.TrimRight(line, "\r\n"), cut, isErr)
		}
		if err != nil {
			return
		}
	}
}

// skipLine reads to the end of a line and says how much that was.
func skipLine(r *bufio.Reader) (n int, err error) {
	for {
		part, err := r.ReadSlice('\n')
		n += len(part)
		if !errors.Is(err, bufio.ErrBufferFull) {
			if err == io.EOF {
				return n, err
			}
			return max(0, n-1), err
		}
	}
}

// take logs one line.
func (o *output) take(raw []byte, cut int, isErr bool) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return
	}
	allowed := o.limit.Allow()
	if !allowed && !bytes.Contains(raw, []byte(listeningMessage)) {
		o.suppress()
		return
	}
	line := parseLine(raw, isErr)
	if l, ok := line.listening(); ok {
		o.announce(l)
	}
	if isErr {
		o.mu.Lock()
		o.lastLine = shorten(line.message, maxLastLine)
		o.mu.Unlock()
	}
	if !allowed {
		o.suppress()
		return
	}
	if cut > 0 {
		line.fields = append(line.fields, "bytes_cut_off", cut)
	}
	o.log.Log(line.level, line.message, line.fields...)
}

func (o *output) announce(l Listening) {
	o.mu.Lock()
	known := slices.Contains(o.listening, l) || len(o.listening) >= maxListening
	if !known {
		o.listening = append(o.listening, l)
	}
	o.mu.Unlock()
	if !known {
		o.changed()
	}
}

func (o *output) suppress() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.suppressed++
	o.unreported++
	if o.report == nil {
		o.report = time.AfterFunc(floodReport, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.reportLocked()
		})
	}
}

func (o *output) reportLocked() {
	o.report = nil
	if o.unreported > 0 {
		o.log.Warn("plugin logs too much, lines were left out", "lines", o.unreported, "limit_per_second", lineRate)
		o.unreported = 0
	}
}

// follow keeps the last line of the run before until this one has written any:
// what a plugin said as it ended is not gone with its restart.
func (o *output) follow(before *output) {
	line, _ := before.last()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lastLine == "" {
		o.lastLine = line
	}
}

// last is the last line of standard error, and how many lines were suppressed.
func (o *output) last() (line string, suppressed uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lastLine, o.suppressed
}

func (o *output) addresses() []Listening {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.listening)
}
