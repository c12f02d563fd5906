package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epmesh/epmesh/integration/shortdir"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/plugin/plugintest"
	pb "github.com/epmesh/epmesh/proto"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// What a node may have in memory, and by how much it may grow between the
// middle third of a soak and the last one. The run without a soak is too short
// for these and sees only what is grossly wrong.
const (
	maxRSS    = 200 << 20
	maxGrowth = 10 << 20
	shortRSS  = 400 << 20

	// keptUpWith is a load that an analysis plugin in Go keeps up with on two
	// cores, the senders on the same ones.
	keptUpWith = 15_000
)

const soakWay = `
pipeline:
  - dataTypes: [app]
    steps:
      - json: {source: raw}
plugins:
  analysis: {order: [rules]}
`

// A node under as much load as its plugin keeps up with stays small and does not
// grow. EPMESH_SOAK is how long it is watched, EPMESH_RATE the load in logs a
// second; 0 is as much as is taken, so that streams grow until they are full:
//
//	EPMESH_SOAK=10m go test ./integration -run Memory -timeout 20m -v
//	EPMESH_SOAK=10m EPMESH_RATE=0 go test ./integration -run Memory -timeout 20m -v
func TestMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	if testing.Short() || raced {
		t.Skip("takes 15 seconds, and means nothing under the race detector")
	}
	soak, limit := 15*time.Second, float64(shortRSS)
	asked, long := lasting(t, "EPMESH_SOAK")
	if long {
		soak, limit = asked, maxRSS
	}
	perSecond := keptUpWith
	if v := os.Getenv("EPMESH_RATE"); v != "" {
		var err error
		if perSecond, err = strconv.Atoi(v); err != nil {
			t.Fatalf("EPMESH_RATE: %v", err)
		}
	}
	pace := rate.NewLimiter(rate.Limit(perSecond), max(perSecond/50, 50))
	if perSecond == 0 {
		pace.SetLimit(rate.Inf)
	}
	dir := shortdir.New(t)
	configure(t, dir, soakWay)
	plugintest.Spawn(t, filepath.Join(dir, "sockets"), plugin.Analysis, "rules", plugintest.Script{})
	n := startNode(t, dir, "EPMESH_NATS_MAX_STORE=256MiB", "EPMESH_STAGES_ACK_WAIT=10s").await()

	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var acked atomic.Int64
	for i := range 2 {
		load.Go(func() {
			if err := flood(ctx, filepath.Join(dir, "sockets", "engine_server.sock"), i, pace, &acked); err != nil && ctx.Err() == nil {
				t.Errorf("sender %d: %v", i, err)
			}
		})
	}
	var rss []float64
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	began := time.Now()
	for time.Since(began) < soak {
		select {
		case <-n.ended:
			t.Fatalf("the node ended: %v\n%s", n.err, n.tail())
		case <-tick.C:
		}
		bytes, err := residentBytes(n.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		rss = append(rss, float64(bytes))
		if len(rss)%max(1, int(soak.Seconds()/20)) == 0 {
			t.Logf("%4.0fs  %6.1f MiB  %d logs acked", time.Since(began).Seconds(), mib(float64(bytes)), acked.Load())
		}
	}
	cpu, err := cpuTime(n.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	load.Wait()
	third := len(rss) / 3
	middle, last, most := mean(rss[third:2*third]), mean(rss[2*third:]), 0.0
	for _, v := range rss {
		most = max(most, v)
	}
	t.Logf("most %.1f MiB; middle third %.1f, last third %.1f MiB; %.1f MiB a minute; %d logs acked, %.0f a second",
		mib(most), mib(middle), mib(last), mib(last-middle)/(soak.Minutes()/3), acked.Load(), float64(acked.Load())/soak.Seconds())
	t.Logf("the node took %.1f s of CPU, %.1f µs for each acked log", cpu.Seconds(), cpu.Seconds()*1e6/float64(max(acked.Load(), 1)))
	if acked.Load() == 0 {
		t.Error("no log was acked")
	}
	if most > limit {
		t.Errorf("%.1f MiB are more than %.0f", mib(most), mib(limit))
	}
	if long && last-middle > maxGrowth {
		t.Errorf("it grew by %.1f MiB", mib(last-middle))
	}
}

func mib(bytes float64) float64 { return bytes / (1 << 20) }

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(max(len(x), 1))
}

// residentBytes is a process's resident memory.
func residentBytes(pid int) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(text, "kB")))
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS: it has ended", pid)
}

// cpuTime is what a process has used.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in brackets, may have spaces; user and system time are the 12th
	// and 13th field behind it, in hundredths of a second.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// flood sends different logs as fast as they are taken and the pace allows, until
// ctx ends.
func flood(ctx context.Context, socket string, sender int, pace *rate.Limiter, acked *atomic.Int64) error {
	cc, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer cc.Close()
	st, err := pb.NewEngineClient(cc).Input(ctx)
	if err != nil {
		return err
	}
	prefix := fmt.Sprintf("%d-", sender)
	ended := make(chan error, 1)
	go func() {
		done := 0
		for {
			ack, err := st.Recv()
			if err != nil {
				ended <- err
				return
			}
			if i, err := strconv.Atoi(strings.TrimPrefix(ack.GetLastId(), prefix)); err == nil {
				acked.Add(int64(i + 1 - done))
				done = i + 1
			}
		}
	}()
	filler := strings.Repeat("x", 300)
	const burst = 50
	for i := 0; ; i++ {
		if i%burst == 0 {
			if err := pace.WaitN(ctx, burst); err != nil {
				return err
			}
		}
		err := st.Send(&pb.Log{
			Id: prefix + strconv.Itoa(i), DataType: "app", DataSource: "src", TenantId: "t1", Timestamp: "2026-11-23T00:00:00Z",
			Raw: fmt.Sprintf(`{"n": %d, "ip": "192.0.2.%d", "user": {"name": "alice", "id": 7}, "text": "%s"}`, i, i%250, filler),
		})
		if err != nil {
			return <-ended // which says why
		}
	}
}
