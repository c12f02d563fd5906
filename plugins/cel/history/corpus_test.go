package history

import (
	"fmt"
	"math/rand/v2"
	"time"

	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// corpus makes events as a company of some thousand machines has them: five data
// types, lines of about 500 bytes, 10 to 20 fields, values that are skewed as
// Zipf has it.
type corpus struct {
	r                          *rand.Rand
	ips, users, hosts, targets *rand.Zipf
	n                          int
	start                      time.Time
	step                       time.Duration // between two events
}

func newCorpus(seed uint64, start time.Time, step time.Duration) *corpus {
	r := rand.New(rand.NewPCG(seed, 1))
	return &corpus{
		r: r, start: start, step: step,
		ips: rand.NewZipf(r, 1.15, 4, 400_000), users: rand.NewZipf(r, 1.2, 3, 20_000),
		hosts: rand.NewZipf(r, 1.1, 5, 3_000), targets: rand.NewZipf(r, 1.15, 4, 50_000),
	}
}

var corpusTypes = []string{"firewall-cisco-asa", "linux", "wineventlog", "netflow", "github"}

func ipOf(n uint64) string { return fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255) }

func publicOf(n uint64) string {
	n = n*2654435761 + 12345
	return fmt.Sprintf("%d.%d.%d.%d", 11+n>>24%200, n>>16&255, n>>8&255, n&255)
}

func (c *corpus) ip() string     { return publicOf(c.ips.Uint64()) }
func (c *corpus) user() string   { return fmt.Sprintf("user%05d", c.users.Uint64()) }
func (c *corpus) host() string   { return fmt.Sprintf("srv-%04d.corp.example", c.hosts.Uint64()) }
func (c *corpus) target() string { return ipOf(c.targets.Uint64()) }

func (c *corpus) id() string {
	a, b := c.r.Uint64(), c.r.Uint64()
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}

// event gives the next one and when it arrives.
func (c *corpus) event() (*pb.Event, time.Time) {
	now := c.start.Add(time.Duration(c.n) * c.step)
	c.n++
	at := now.Add(-time.Duration(c.r.IntN(3000)) * time.Millisecond)
	e := &pb.Event{
		Id: c.id(), Timestamp: at.UTC().Format("2006-01-02T15:04:05.000000000Z"), TenantId: "b6b9b5c4-7a2f-4a8b-9f0e-3f6c2a1d4e5f",
		TenantName: "Example Corporation", Origin: &pb.Side{Ip: c.ip(), Port: uint32(1024 + c.r.IntN(64000))}, Target: &pb.Side{},
	}
	log := map[string]any{}
	kind := c.r.IntN(100)
	stamp := at.UTC().Format("Jan _2 15:04:05")
	switch {
	case kind < 30:
		e.DataType, e.Target.Ip, e.Target.Port = corpusTypes[0], c.target(), []uint32{443, 443, 443, 80, 22, 445, 3389, 53}[c.r.IntN(8)]
		e.DataSource, e.Protocol = "fw-"+fmt.Sprint(c.r.IntN(12)), "tcp"
		id := []string{"302013", "302014", "106023", "113015", "611102", "338002"}[min(5, int(c.r.ExpFloat64()*1.3))]
		log["messageId"], log["interface"], log["bytes"], log["duration"] = id, "outside", float64(c.r.IntN(1<<20)), fmt.Sprintf("0:%02d:%02d", c.r.IntN(60), c.r.IntN(60))
		e.Action = []string{"allow", "allow", "allow", "deny"}[c.r.IntN(4)]
		msg := fmt.Sprintf("%%ASA-6-%s: Teardown TCP connection %d for outside:%s/%d to inside:%s/%d duration %s bytes %.0f TCP FINs from outside", id, c.r.IntN(1<<30), e.Origin.Ip, e.Origin.Port, e.Target.Ip, e.Target.Port, log["duration"], log["bytes"])
		log["message"] = msg
		e.Raw = fmt.Sprintf("<166>%s %s %s (rule ACL_OUTSIDE_IN line 4711, interface GigabitEthernet0/0, zone outside to zone inside, policy default-inspection-policy, nat static none, user-identity unknown, security-group-tag 0, device-serial JAD2144%05d, threat-level informational, hash 0x%08x)", stamp, e.DataSource, msg, c.r.IntN(12), c.r.Uint32())
	case kind < 55:
		e.DataType, e.Origin.User = corpusTypes[1], c.user()
		e.DataSource = c.host()
		log["hostId"], log["process"], log["pid"], log["facility"] = e.DataSource, "sshd", float64(c.r.IntN(65536)), "auth"
		words := []string{"Accepted publickey for", "Failed password for", "session opened for user", "session closed for user", "authentication failure for"}[min(4, int(c.r.ExpFloat64()*1.2))]
		e.Action = "system.auth"
		log["message"] = fmt.Sprintf("%s %s from %s port %d ssh2", words, e.Origin.User, e.Origin.Ip, e.Origin.Port)
		e.Raw = fmt.Sprintf("<86>%s %s sshd[%.0f]: %s [preauth] (pam_unix(sshd:auth): uid=0 euid=0 tty=ssh ruser= rhost=%s service=sshd kernel=6.1.0-18-amd64 unit=ssh.service cgroup=/system.slice/ssh.service machine-id=%016x boot-id=4c7f2a9e transport=syslog selinux=unconfined audit-session=%d)", stamp, e.DataSource, log["pid"], log["message"], e.Origin.Ip, c.hosts.Uint64()*7919, c.r.IntN(100000))
	case kind < 75:
		e.DataType, e.Target.User, e.Origin.Host = corpusTypes[2], c.user(), c.host()
		e.DataSource = c.host()
		code := []string{"4624", "4634", "4625", "4663", "4688", "4672"}[min(5, int(c.r.ExpFloat64()*1.5))]
		log["eventCode"], log["channel"], log["logonType"], log["provider"] = code, "Security", float64(c.r.IntN(11)), "Microsoft-Windows-Security-Auditing"
		log["EventDataFileName"] = fmt.Sprintf(`C:\Users\%s\Documents\report-%d.docx`, e.Target.User, c.r.IntN(3000))
		e.ActionResult = []string{"success", "failed"}[min(1, int(c.r.ExpFloat64()))]
		e.Raw = fmt.Sprintf(`{"EventID":%s,"Channel":"Security","Computer":"%s","TargetUserName":"%s","TargetDomainName":"CORP","WorkstationName":"%s","IpAddress":"%s","IpPort":"%d","LogonType":"%v","AuthenticationPackageName":"Kerberos","LogonProcessName":"Kerberos","ObjectName":"%s","ProcessId":"0x%x","SubjectLogonId":"0x%x","Keywords":"0x8020000000000000","Level":"Information"}`, code, e.DataSource, e.Target.User, e.Origin.Host, e.Origin.Ip, e.Origin.Port, log["logonType"], log["EventDataFileName"], c.r.IntN(1<<16), c.r.Uint32())
	case kind < 95:
		e.DataType, e.Target.Ip, e.Target.Port = corpusTypes[3], c.target(), uint32([]int{443, 53, 80, 445, 3389, c.r.IntN(65536)}[c.r.IntN(6)])
		e.DataSource, e.Protocol = "exporter-"+fmt.Sprint(c.r.IntN(6)), "udp"
		e.Origin.BytesSent, e.Origin.PackagesSent = float64(c.r.IntN(1<<24)), uint64(c.r.IntN(10000))
		log["flowEndReason"], log["tos"], log["inputSnmp"], log["outputSnmp"] = "idle timeout", 0.0, float64(c.r.IntN(48)), float64(c.r.IntN(48))
		e.Raw = fmt.Sprintf(`{"type":"netflow_flow","version":9,"source_ipv4_address":"%s","destination_ipv4_address":"%s","source_transport_port":%d,"destination_transport_port":%d,"octet_delta_count":%.0f,"packet_delta_count":%d,"protocol_identifier":17,"flow_end_reason":1,"ingress_interface":%v,"egress_interface":%v,"ip_class_of_service":0,"tcp_control_bits":0,"flow_start_sys_up_time":%d,"flow_end_sys_up_time":%d,"exporter":{"address":"10.0.0.1:2055","source_id":0,"uptime_millis":%d}}`, e.Origin.Ip, e.Target.Ip, e.Origin.Port, e.Target.Port, e.Origin.BytesSent, e.Origin.PackagesSent, log["inputSnmp"], log["outputSnmp"], c.r.IntN(1<<30), c.r.IntN(1<<30), c.r.IntN(1<<30))
	default:
		e.DataType, e.DataSource = corpusTypes[4], "api.github.com"
		log["senderLogin"], log["repositoryName"] = c.user(), fmt.Sprintf("corp/service-%03d", c.hosts.Uint64()%600)
		log["action"] = []string{"git.clone", "git.fetch", "git.push", "secret_scanning alert created", "workflow run"}[min(4, int(c.r.ExpFloat64()*1.2))]
		e.Raw = fmt.Sprintf(`{"action":"%s","actor":"%s","repo":"%s","org":"corp","@timestamp":%d,"user_agent":"git/2.43.0","transport_protocol_name":"http","business":"example","visibility":"private","actor_ip":"%s","token_scopes":"repo,read:org","programmatic_access_type":"OAuth access token","_document_id":"%016x%06x","external_identity_nameid":"%s@example.com","request_id":"%08X:%04X"}`, log["action"], log["senderLogin"], log["repositoryName"], at.UnixMilli(), e.Origin.Ip, c.r.Uint64(), c.r.IntN(1<<24), log["senderLogin"], c.r.Uint32(), c.r.IntN(1<<16))
	}
	s, err := structpb.NewStruct(log)
	if err != nil {
		panic(err)
	}
	e.Log = s.Fields
	return e, now
}

// renew makes another event of one, in its place.
func (c *corpus) renew(e *pb.Event) time.Time {
	now := c.start.Add(time.Duration(c.n) * c.step)
	c.n++
	e.Id = c.id()
	e.Timestamp = now.Add(-time.Duration(c.r.IntN(3000)) * time.Millisecond).UTC().Format("2006-01-02T15:04:05.000000000Z")
	e.Origin.Ip = c.ip()
	if e.Target.Ip != "" {
		e.Target.Ip = c.target()
	}
	if e.Target.User != "" {
		e.Target.User = c.user()
	}
	return now
}

// rulePaths are those that the rules in configs/rules ask for, with raw.
var rulePaths = Paths{
	Terms: []string{
		"action", "dataType", "log.EventDataFileName", "log.eventCode", "log.hostId", "log.logdesc", "log.messageId", "log.repositoryName",
		"log.senderLogin", "log.subtype", "log.type", "log.user", "origin.host", "origin.ip", "origin.mac", "origin.user", "target.ip",
		"target.port", "target.user", "actionResult",
	},
	Words: []string{"log.action", "log.message"},
}
