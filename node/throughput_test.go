package node_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/integration/shortdir"
	pb "github.com/epmesh/epmesh/proto"
)

// suricata is a log of about 480 bytes.
const suricata = `{"timestamp":"2026-09-23T14:00:00Z","src_ip":"198.51.100.7","src_port":51234,"dest_ip":"192.0.2.10","dest_port":443,"proto":"TCP","event_type":"alert","alert":{"action":"allowed","gid":1,"signature_id":2100498,"rev":7,"signature":"GPL ATTACK_RESPONSE id check","category":"Potentially Bad Traffic","severity":2},"flow":{"pkts_toserver":6,"pkts_toclient":5,"bytes_toserver":496,"bytes_toclient":876},"app_proto":"http","host":"sensor-1","in_iface":"eth0","flow_id":1234567890123}`

func suricataLog(i int) *pb.Log {
	return &pb.Log{
		Id: fmt.Sprintf("0198f3a1-7c1e-7d6e-9c53-%012d", i), DataType: "suricata", DataSource: "sensor-1",
		Timestamp: "2026-09-23T14:00:00.123456789Z", TenantId: "4f7c2d1e-0b1a-4a6e-9d52-6a1f0c9b8e7d", Raw: suricata,
	}
}

// jsonWay has the events kept for a plugin that is not there, so that they are
// stored and nothing is done with them.
const jsonWay = `
pipeline:
  - dataTypes: [suricata]
    steps:
      - json: {source: raw}
plugins:
  analysis: {order: [absent]}
`

// syncs are the two settings that every benchmark of the whole way is given
// for.
var syncs = []struct {
	name, setting string
	interval      time.Duration
}{{"relaxed", "2m", 2 * time.Minute}, {"always", "always", 0}}

// BenchmarkInputToEvent measures from the input socket to the stored event, with
// a pipeline of one json step: the generated client's sender, in this process
// and counted, a whole node, and JetStream. The last event is waited for.
//
// "x-bare" is the ratio to bareNode in the same run, "of-relaxed" that of sync
// always to a sync every two minutes.
//
//	go test ./node -run '^$' -bench InputToEvent
func BenchmarkInputToEvent(b *testing.B) {
	const rounds = 3
	rates := map[string][]float64{}
	for b.Loop() {
		for range rounds {
			for _, sync := range syncs {
				bare, ours := 20_000, 100_000
				if sync.interval == 0 {
					bare = 4_000
				}
				rates["bare-"+sync.name] = append(rates["bare-"+sync.name], float64(bare)/bareInputToEvent(b, sync.interval, bare).Seconds())
				rates[sync.name] = append(rates[sync.name], float64(ours)/inputToEvent(b, sync.setting, ours).Seconds())
			}
		}
	}
	for _, sync := range syncs {
		rate, bare := median(rates[sync.name]), median(rates["bare-"+sync.name])
		b.ReportMetric(rate, sync.name+"-logs/s")
		b.ReportMetric(rate/bare, sync.name+"-x-bare")
	}
	b.ReportMetric(median(rates["always"])/median(rates["relaxed"]), "of-relaxed")
	b.ReportMetric(0, "ns/op")
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// BenchmarkInputToEventAlone is the same with sync always and nothing beside it,
// for profiles.
//
//	go test ./node -run '^$' -bench InputToEventAlone -cpuprofile cpu.out
func BenchmarkInputToEventAlone(b *testing.B) {
	const logs = 200_000
	took := time.Duration(0)
	for b.Loop() {
		took += inputToEvent(b, "always", logs)
	}
	b.ReportMetric(float64(b.N*logs)/took.Seconds(), "logs/s")
	b.ReportMetric(0, "ns/op")
}

func inputToEvent(b *testing.B, sync string, n int) time.Duration {
	dir := shortdir.New(b)
	write(b, dir, "a.yaml", jsonWay)
	nd := start(b, dir, func(s *config.Settings) { s.NATS.Sync = sync })
	defer nd.stop()
	client := pb.NewEngineClient(dial(b, nd.addr.Engine))
	began := time.Now()
	sendAll(b, client, n)
	nd.untilMetric(`epmesh_stage_out_total{plugin="",stage="parse"}`, n)
	return time.Since(began)
}

// untilMetric asks /metrics until a counter is as wanted; a page takes a
// millisecond of the node's time.
func (n *testNode) untilMetric(series string, want int) {
	n.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		r, err := http.Get("http://" + n.addr.HTTP + "/metrics")
		if err != nil {
			n.t.Fatal(err)
		}
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			if value, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
				if v, err := strconv.ParseFloat(value, 64); err == nil && int(v) == want {
					r.Body.Close()
					return
				}
			}
		}
		r.Body.Close()
	}
}

func bareInputToEvent(b *testing.B, sync time.Duration, n int) time.Duration {
	bare := startBare(b, sync)
	client := pb.NewEngineClient(dial(b, bare.socket))
	began := time.Now()
	var way errGroup
	way.Go(func() error { return bare.js.Hop("LOG", "EVENT", n, bare.parse) })
	sendAll(b, client, n)
	if err := way.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// sendAll sends like an official SDK plugin, which reads Acks and does not wait
// for them, and returns once all logs are acked.
func sendAll(b testing.TB, client pb.EngineClient, n int) {
	b.Helper()
	st, err := client.Input(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var acks errGroup
	acks.Go(func() error {
		for {
			if _, err := st.Recv(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	for i := range n {
		if err := st.Send(suricataLog(i)); err != nil {
			b.Fatal(err)
		}
	}
	if err := st.CloseSend(); err != nil {
		b.Fatal(err)
	}
	if err := acks.Wait(); err != nil {
		b.Fatal(err)
	}
}

// errGroup waits for goroutines and keeps the first error.
type errGroup struct {
	wg   sync.WaitGroup
	once sync.Once
	err  error
}

func (g *errGroup) Go(f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil {
			g.once.Do(func() { g.err = err })
		}
	})
}

func (g *errGroup) Wait() error {
	g.wg.Wait()
	return g.err
}
