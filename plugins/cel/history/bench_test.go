package history

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// BenchmarkHistory10M fills a store as 128 callers do, and measures searches in
// it. By itself it has 300,000 events; the figures in docs/plugins/cel-history.md
// are of
//
//	EPMESH_HISTORY_EVENTS=10000000 go test ./plugins/cel/history -run '^$' -bench History10M -benchtime 1x -timeout 60m -v
//
// EPMESH_HISTORY_SYNC is the sync setting in milliseconds (0: always, -1: never),
// EPMESH_HISTORY_DIR where the files are.
func BenchmarkHistory10M(b *testing.B) {
	total := number(b, "EPMESH_HISTORY_EVENTS", 300_000)
	dir := os.Getenv("EPMESH_HISTORY_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	options := Options{MaxBytes: 4 << 30, MaxAge: 7 * 24 * time.Hour, Sync: time.Duration(number(b, "EPMESH_HISTORY_SYNC", 0)) * time.Millisecond, SearchTime: 10 * time.Second}
	for range b.N {
		measure(b, filepath.Join(dir, "store"), options, total)
	}
}

func number(b *testing.B, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return n
}

func measure(b *testing.B, dir string, o Options, total int) {
	d, err := Open(dir, o)
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Watch(rulePaths); err != nil {
		b.Fatal(err)
	}
	// The newest event comes in now.
	const step = 5 * time.Millisecond
	c := newCorpus(1, time.Now().Add(-time.Duration(total)*step), step)
	plain, err := os.Create(dir + ".plain")
	if err != nil {
		b.Fatal(err)
	}
	defer plain.Close()

	// Drawing an event costs more than adding it, so most are drawn once and again
	// given to the store with another id, time, addresses and user.
	pool := make([]*pb.Event, 0, 3<<15)
	again := 0
	draw := func() (*pb.Event, time.Time) {
		if len(pool) < cap(pool) {
			e, now := c.event()
			pool = append(pool, e)
			return e, now
		}
		e := pool[again%len(pool)]
		again++
		return e, c.renew(e)
	}
	var adding, addingCPU, writing time.Duration
	var raw, marshalled, alone int
	var samples []*pb.Event
	var last time.Time
	const chunk = 1 << 15
	for done := 0; done < total; done += chunk {
		list := make([]*pb.Event, 0, chunk)
		times := make([]time.Time, 0, chunk)
		for range min(chunk, total-done) {
			e, now := draw()
			list, times = append(list, e), append(times, now)
			raw += len(e.Raw)
		}
		last = times[len(times)-1]
		begin, cpu := time.Now(), processTime(b)
		var group sync.WaitGroup
		const callers = 128
		for g := range callers {
			group.Go(func() {
				for i := g; i < len(list); i += callers {
					if _, err := d.Add(b.Context(), list[i], times[i]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		adding += time.Since(begin)
		addingCPU += processTime(b) - cpu
		for i := 0; i < len(list); i += chunk / 64 {
			samples = append(samples, proto.CloneOf(list[i]))
		}
		if done/chunk%8 != 0 {
			continue // the other is measured now and then
		}
		begin = time.Now()
		for _, e := range list {
			body, err := proto.Marshal(e)
			if err == nil {
				_, err = plain.Write(body)
			}
			if err != nil {
				b.Fatal(err)
			}
			marshalled += len(body)
			alone++
		}
		if o.Sync == 0 {
			if err := plain.Sync(); err != nil {
				b.Fatal(err)
			}
		}
		writing += time.Since(begin)
		if err := plain.Truncate(0); err != nil {
			b.Fatal(err)
		}
		if _, err := plain.Seek(0, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d events: raw %d bytes, encoded %d bytes an event", total, raw/total, marshalled/alone)
	b.Logf("add, 128 callers: %.0f events/s; encoding and writing the bodies alone: %.0f events/s; ratio %.2f",
		float64(total)/adding.Seconds(), float64(alone)/writing.Seconds(), float64(total)/adding.Seconds()*writing.Seconds()/float64(alone))
	b.Logf("add: %.1f us of the processors an event, with sealing and the collector", float64(addingCPU.Microseconds())/float64(total))
	b.ReportMetric(float64(total)/adding.Seconds(), "adds/s")

	newest := samples[max(0, len(samples)-2000):]
	b.Log("while 2000 events a second come in:")
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			for range 20 {
				e, now := draw()
				if _, err := d.Add(ctx, e, now); err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			}
		}
	})
	searches(b, d, newest, last, 1)
	cancel()
	group.Wait()
	b.Log("in quiet:")
	begin := time.Now()
	for d.unsealed() > 1 {
		runtime.Gosched()
	}
	b.Logf("sealing ended %v later", time.Since(begin).Round(time.Millisecond))
	s := d.Stats()
	b.Logf("store: %d events in %d segments, %d bytes, %.1f an event (%.1f%% of the encoded ones)", s.Events, s.Segments, s.Bytes, float64(s.Bytes)/float64(s.Events), float64(s.Bytes)*100/float64(s.Events)/float64(marshalled/alone))
	b.ReportMetric(float64(s.Bytes)/float64(s.Events), "B/event")
	searches(b, d, newest, last, 3)

	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	forget(b, dir)
	begin = time.Now()
	if d, err = Open(dir, o); err != nil {
		b.Fatal(err)
	}
	b.Logf("opened again, from the disk, in %v", time.Since(begin).Round(time.Millisecond))
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.Logf("heap %d MiB", m.HeapInuse>>20)
	b.Log("with events that are only on the disk:")
	searches(b, d, newest, last, 1)
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
}

// shape is a kind of search, with how often rules have it.
type shape struct {
	name   string
	weight int
	index  string
	within time.Duration
	count  int
	with   string // path=value, path!=value, path~words; value may be {path}
}

const day = 24 * time.Hour

// Those of the rules in configs/rules, as often as they stand there.
var ruleShapes = []shape{
	{"source in 15m", 11, "v11-log-firewall-cisco-asa-*", 15 * time.Minute, 3, "origin.ip={origin.ip}"},
	{"source in 5m to 1h", 7, "v11-log-netflow-*", time.Hour, 30, "origin.ip={origin.ip}"},
	{"source and target", 5, "v11-log-netflow-*", time.Hour, 5, "origin.ip={origin.ip} target.ip={target.ip}"},
	{"source and message", 7, "v11-log-firewall-cisco-asa-*", 15 * time.Minute, 10, "origin.ip={origin.ip} log.messageId=113015"},
	{"source and port", 5, "v11-log-netflow-*", time.Hour, 20, "origin.ip={origin.ip} target.port=443"},
	{"target, 100 in 5m", 1, "v11-log-netflow-*", 5 * time.Minute, 100, "target.ip={target.ip} dataType=netflow"},
	{"repository and sender in 24h", 2, "v11-log-github-*", day, 2, "log.repositoryName={log.repositoryName} log.senderLogin={log.senderLogin}"},
	{"repository, words", 2, "v11-log-github-*", time.Hour, 3, "log.repositoryName={log.repositoryName} log.action~secret"},
	{"user, host, words", 2, "v11-log-linux-*", 15 * time.Minute, 10, "origin.user={origin.user} log.hostId={log.hostId} log.message~Failed_password"},
	{"code and user", 3, "v11-log-wineventlog-*", 5 * time.Minute, 20, "log.eventCode=4663 target.user={target.user}"},
	{"code, user, host, source", 2, "v11-log-wineventlog-*", 5 * time.Minute, 10, "log.eventCode=4625 target.user={target.user} origin.host={origin.host} origin.ip={origin.ip}"},
}

// The worst that a rule can ask, over everything that is kept.
var hardShapes = []shape{
	{"7d: a source, 100 of it", 1, "v11-log-*", 7 * day, 100, "origin.ip={origin.ip}"},
	{"7d: a frequent and a rare term", 1, "v11-log-*", 7 * day, 100, "action=deny origin.ip={origin.ip}"},
	{"7d: a source that never was", 1, "v11-log-*", 7 * day, 1, "origin.ip=192.0.2.1"},
	{"7d: two frequent terms, none with both", 1, "v11-log-*", 7 * day, 1, "log.eventCode=4624 log.messageId=302013"},
	{"7d: frequent term and words, none with both", 1, "v11-log-*", 7 * day, 1, "log.eventCode=4624 log.message~session_opened_failed"},
	{"7d: frequent words, most left out", 1, "v11-log-linux-*", 7 * day, 100, "log.message~from action!=system.auth"},
	{"7d: only exclusions, nothing left", 1, "v11-log-*", 7 * day, 1, "dataType!=linux dataType!=netflow dataType!=github dataType!=wineventlog dataType!=firewall-cisco-asa"},
	{"7d: four frequent terms", 1, "v11-log-*", 7 * day, 100, "action=deny log.messageId=106023 target.port=443 dataType=netflow"},
	{"7d: only exclusions, all left", 1, "v11-log-*", 7 * day, 100, "action!=none"},
}

func (s shape) query(b *testing.B, e *pb.Event, now time.Time, next uint64) (q Query, ok bool) {
	var err error
	if q.Index, err = config.ParseIndexPattern(s.index); err != nil {
		b.Fatal(err)
	}
	q.Since, q.Before, q.Limit, q.Want = now.Add(-s.within), next, 100, s.count
	for _, part := range strings.Fields(s.with) {
		i := strings.IndexAny(part, "=~!")
		c := Criterion{Path: part[:i], Match: part[i] == '~', Not: part[i] == '!'}
		c.Text = strings.ReplaceAll(strings.TrimLeft(part[i:], "=~!"), "_", " ")
		if path, is := strings.CutPrefix(c.Text, "{"); is {
			v := newGetter(strings.TrimSuffix(path, "}"))(e)
			if v == nil {
				return q, false
			}
			for c.Text = range texts(v) {
			}
		}
		q.With = append(q.With, c)
	}
	return q, true
}

// forget makes the system drop what it has in memory of the files of a folder.
func forget(b *testing.B, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err == nil {
			err = f.Sync()
		}
		if err == nil {
			err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func processTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func threadTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var megabyte [1 << 20]byte

func searches(b *testing.B, d *Disk, samples []*pb.Event, now time.Time, rounds int) {
	next := d.Stats().Next
	// The machine has other work: the time of the processor tells what a search
	// costs, the time of the clock what its caller waited.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	report := func(name string, times, cpus []time.Duration, found int) {
		slices.Sort(times)
		slices.Sort(cpus)
		at := func(list []time.Duration, p float64) time.Duration {
			return list[min(len(list)-1, int(p*float64(len(list))))].Round(time.Microsecond)
		}
		b.Logf("%-44s %6d: p50 %9v p99 %9v p99.9 %9v max %9v; processor p50 %9v p99 %9v max %9v; %d%% found enough", name, len(times),
			at(times, 0.5), at(times, 0.99), at(times, 0.999), at(times, 1), at(cpus, 0.5), at(cpus, 0.99), at(cpus, 1), found*100/len(times))
	}
	// What the machine does to work that needs neither memory nor disk.
	var times, cpus []time.Duration
	for range 2000 {
		begin, cpu := time.Now(), threadTime(b)
		for range 10 {
			checksum(megabyte[:])
		}
		times, cpus = append(times, time.Since(begin)), append(cpus, threadTime(b)-cpu)
	}
	report("(the machine: checksums of 10 MiB)", times, cpus, 100)
	for _, group := range []struct {
		name   string
		shapes []shape
		each   int
	}{{"rules", ruleShapes, 100}, {"hard", hardShapes, 100}} {
		var all, allCPU []time.Duration
		enough := 0
		for _, s := range group.shapes {
			var times, cpus []time.Duration
			found := 0
			for i := 0; len(times) < group.each*s.weight*rounds && i < 100*group.each*s.weight*rounds; i++ {
				q, ok := s.query(b, samples[(i*7919)%len(samples)], now, next)
				if !ok {
					continue
				}
				begin, cpu := time.Now(), threadTime(b)
				r, err := d.Search(context.Background(), q)
				times, cpus = append(times, time.Since(begin)), append(cpus, threadTime(b)-cpu)
				if err != nil {
					b.Fatalf("%s: %v", s.name, err)
				}
				if r.Total >= q.Want {
					found++
				}
			}
			if len(times) == 0 {
				continue
			}
			report(s.name, slices.Clone(times), slices.Clone(cpus), found)
			all, allCPU, enough = append(all, times...), append(allCPU, cpus...), enough+found
		}
		report("all of "+group.name, all, allCPU, enough)
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, fmt.Sprintf("p99-ms/%s", group.name))
	}
}

// BenchmarkAdd compares the sync settings with each other, 128 callers at a
// time:
//
//	go test ./plugins/cel/history -run '^$' -bench Add -benchtime 100000x -count 3
func BenchmarkAdd(b *testing.B) {
	for _, s := range []struct {
		name string
		sync time.Duration
	}{{"never", -1}, {"1s", time.Second}, {"always", 0}} {
		b.Run(s.name, func(b *testing.B) {
			d := openTest(b, b.TempDir(), Options{MaxBytes: 4 << 30, MaxAge: 7 * day, Sync: s.sync, SearchTime: time.Second})
			if err := d.Watch(rulePaths); err != nil {
				b.Fatal(err)
			}
			c := newCorpus(1, time.Now(), time.Millisecond)
			list := make([]*pb.Event, 4096)
			for i := range list {
				list[i], _ = c.event()
			}
			var n atomic.Int64
			b.SetParallelism(128 / runtime.GOMAXPROCS(0))
			b.ReportAllocs()
			cpu := processTime(b)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				e := new(pb.Event)
				for p.Next() {
					i := n.Add(1)
					proto.Merge(e, list[i%int64(len(list))])
					e.Id = fmt.Sprint("benchmark-", i)
					if _, err := d.Add(b.Context(), e, time.Now()); err != nil {
						b.Error(err)
						return
					}
					proto.Reset(e)
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64((processTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/event")
		})
	}
}
