package pipeline

import (
	"path/filepath"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/epmesh/epmesh/integration/shared"
	pb "github.com/epmesh/epmesh/proto"
)

// sample is a line for a real filter, made up for this test, and some of what
// the filter gets out of it.
type sample struct {
	raw  string
	want map[string]string
}

var samples = []struct {
	file, dataType string
	lines          []sample
}{
	{"windows/windows-events.yml", "wineventlog", []sample{
		{
			`{"agent":{"version":"8.15.0","hostname":"ws-17"},"event":{"code":"4625","kind":"event","provider":"Sec-Audit","outcome":"failure"},"level":"information","channel":"Security","computer":"ws-17.corp.example","record_id":"881245","task":"Logon","keywords":["Audit Failure"],"execution":{"ProcessID":712,"ThreadID":4480},"data":{"SubjectUserSid":"S-1-5-18","SubjectUserName":"WS-17$","SubjectDomainName":"CORP","SubjectLogonId":"0x3e7","TargetUserName":"alice","TargetDomainName":"CORP","Status":"0xC000006D","SubStatus":"0xC000006A","FailureReason":"%%2313","LogonType":"3","LogonProcessName":"NtLmSsp ","AuthenticationPackageName":"NTLM","WorkstationName":"KIOSK-4","IpAddress":"198.51.100.23","IpPort":"50122","KeyLength":"0","ProcessId":"0x0","ProcessName":"-"}}`,
			map[string]string{"origin.ip": "198.51.100.23", "target.user": "alice", "origin.host": "KIOSK-4", "log.eventCode": "4625", "log.eventDataLogonType": "3"},
		},
		{
			`{"event":{"code":"4663","kind":"event"},"level":"information","computer":"fs-2.corp.example","record_id":"90012","data":{"SubjectUserName":"bob","SubjectDomainName":"CORP","ObjectServer":"Security","ObjectType":"File","ObjectName":"D:\\shares\\plans.docx","HandleId":"0x1bc","AccessMask":"0x2","AccessList":"%%4417","ProcessId":"0x9d4","ProcessName":"C:\\Windows\\explorer.exe"}}`,
			map[string]string{"log.eventCode": "4663", "log.eventDataObjectName": `D:\shares\plans.docx`},
		},
		{
			`{"event":{"code":"4771"},"computer":"dc-1.corp.example","data":{"TargetUserName":"carol","ServiceName":"krbtgt/CORP","TicketOptions":"0x40810010","Status":"0x18","PreAuthType":"2","IpAddress":"203.0.113.9","IpPort":"61822"}}`,
			map[string]string{"log.eventCode": "4771", "target.user": "carol", "origin.ip": "203.0.113.9"},
		},
	}},
	{"fortinet/fortinet.yml", "firewall-fortigate-traffic", []sample{
		{
			`<189>date=2026-09-23 time=14:00:01 devname="edge-1" devid="FGT0000000000001" logid="0000000013" type="traffic" subtype="forward" level="notice" vd="root" eventtime=1790172001 srcip=10.20.30.40 srcport=52011 srcintf="lan" srcintfrole="lan" dstip=203.0.113.80 dstport=443 dstintf="wan1" dstintfrole="wan" sessionid=774411 proto=6 action="close" policyid=7 policytype="policy" service="HTTPS" dstcountry="Reserved" srccountry="Reserved" trandisp="snat" transip=198.51.100.2 transport=52011 duration=12 sentbyte=1840 rcvdbyte=9321 sentpkt=14 rcvdpkt=17 appcat="unscanned"`,
			map[string]string{"origin.ip": "10.20.30.40", "target.port": "443", "action": "close", "origin.bytesSent": "1840", "protocol": "TCP"},
		},
		{
			`<188>Sep 23 14:00:02 edge-2 CEF:0|Maker|Gate|7.0|00014|traffic:local deny|5|deviceExternalId=FGT0000000000002 FTNTFGTlogid=0001000014 cat=traffic:local FTNTFGTsubtype=local FTNTFGTlevel=warning FTNTFGTvd=root src=192.0.2.66 spt=41000 deviceInboundInterface=wan1 dst=198.51.100.2 dpt=23 externalId=9913 proto=17 act=deny FTNTFGTpolicyid=0 out=0 in=44`,
			map[string]string{"origin.ip": "192.0.2.66", "target.port": "23", "action": "deny", "log.catSubtype": "local", "protocol": "UDP"},
		},
	}},
	{"pfsense/pfsense_fw.yml", "firewall-pfsense", []sample{
		{
			`<134>Sep 23 14:00:03 fw-lab filterlog[41205]: 88,,,1000000103,igb1,match,block,in,4,0x0,,53,30211,0,DF,6,tcp,60,203.0.113.7,198.51.100.20,40512,8080,0,S,3023341120,,64240,,mss;sackOK;TS`,
			map[string]string{"origin.ip": "203.0.113.7", "target.port": "8080", "action": "block", "protocol": "tcp"},
		},
		{
			`<134>1 2026-09-23 14:00:04.120411+00:00 fw-lab filterlog 41205- - 12,,,1000000105,igb0,match,pass,out,4,0x0,,64,1177,0,none,17,udp,76,10.1.1.5,192.0.2.53,55012,53,56`,
			map[string]string{"log.syslogHost": "fw-lab", "target.ip": "192.0.2.53", "protocol": "udp"},
		},
	}},
	{"suricata/suricata.yml", "suricata", []sample{
		{
			`<142>Sep 23 14:00:05 ids-3 suricata[2211]: {"timestamp":"2026-09-23T14:00:05.402911+0000","flow_id":118822774411,"in_iface":"ens4","event_type":"alert","src_ip":"203.0.113.99","src_port":44321,"dest_ip":"198.51.100.12","dest_port":80,"proto":"TCP","tx_id":0,"alert":{"action":"allowed","gid":1,"signature_id":9000017,"rev":3,"signature":"LOCAL odd user agent","category":"Misc activity","severity":3},"http":{"hostname":"www.example.net","url":"/a?b=c","http_user_agent":"odd/1.0","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":512},"app_proto":"http","flow":{"pkts_toserver":5,"pkts_toclient":4,"bytes_toserver":640,"bytes_toclient":1320,"start":"2026-09-23T14:00:04.900000+0000"}}`,
			map[string]string{"origin.ip": "203.0.113.99", "target.port": "80", "protocol": "TCP", "severity": "high"},
		},
		{
			`<142>Sep 23 14:00:06 ids-3 suricata[2211]: {"timestamp":"2026-09-23T14:00:06.000000+0000","flow_id":118822774999,"event_type":"dns","src_ip":"10.9.8.7","src_port":5353,"dest_ip":"192.0.2.53","dest_port":53,"proto":"UDP","dns":{"type":"answer","id":4711,"rrname":"intra.example.net","rrtype":"A","rcode":"NOERROR"}}`,
			map[string]string{"origin.ip": "10.9.8.7", "action": "success", "log.dns.rrname": "intra.example.net"},
		},
	}},
	{"linux/linux.yml", "linux", []sample{
		{
			`{"MESSAGE":"Accepted publickey for dave from 198.51.100.77 port 50514 ssh2","PRIORITY":"6","SYSLOG_IDENTIFIER":"sshd","SYSLOG_FACILITY":"4","_PID":"31337","_UID":"0","_GID":"0","_COMM":"sshd","_EXE":"/usr/sbin/sshd","_CMDLINE":"sshd: dave [priv]","_SYSTEMD_UNIT":"ssh.service","_SYSTEMD_SLICE":"system.slice","_HOSTNAME":"bastion","_TRANSPORT":"syslog","_BOOT_ID":"4f1c2d","PRIORITYNAME":"info"}`,
			map[string]string{"origin.process": "sshd", "log.systemdUnit": "ssh.service", "severity": "info"},
		},
		{
			`{"type":"auditd","sequence":8812,"category":"process-started","syscall":"execve","result":"success","exe":"/usr/bin/curl","comm":"curl","proctitle":"curl -s https://www.example.org/x","cwd":"/tmp","exit":"0","pid":"4112","subj_user":"unconfined_u"}`,
			map[string]string{"action": "execve", "actionResult": "success", "origin.process": "/usr/bin/curl", "origin.path": "/tmp"},
		},
		{
			`Sep 23 14:00:07 bastion sudo: dave : TTY=pts/1 ; PWD=/home/dave ; USER=root ; COMMAND=/usr/bin/id`,
			nil,
		},
	}},
	{"filebeat/apache_module.yml", "apache", []sample{
		{
			`{"agent":{"version":"8.15.0","type":"filebeat"},"host":{"hostname":"web-1","architecture":"x86_64","ip":["10.0.0.7"],"mac":["02-00-00-00-00-07"],"os":{"kernel":"6.8.0","type":"linux"}},"event":{"dataset":"apache.access","module":"apache"},"log":{"file":{"path":"/var/log/apache2/access.log"},"offset":99120},"message":"203.0.113.44 - erin [23/Sep/2026:14:00:08 +0000] \"GET /shop/cart?item=12 HTTP/1.1\" 200 7312 \"https://www.example.com/shop\" \"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0\""}`,
			map[string]string{"origin.ip": "203.0.113.44", "origin.user": "erin", "origin.path": "/shop/cart?item=12", "action": "get", "actionResult": "accepted"},
		},
	}},
}

// filterSet compiles a real filter and gives its lines as logs. These filters
// read names without the underscores that the products write.
func filterSet(t testing.TB, i int) (*Set, []*pb.Log) {
	t.Helper()
	file := filepath.Join(shared.Dir(t, "configs", "filters"), filepath.FromSlash(samples[i].file))
	set, problems := Compile(load(t, file), Options{StripUnderscore: true})
	for _, p := range problems {
		t.Error(p)
	}
	var logs []*pb.Log
	for _, line := range samples[i].lines {
		logs = append(logs, &pb.Log{
			Id: "8f14e45f-ceea-467f-a8f4-1d0c7a8c1d2e", DataType: samples[i].dataType, DataSource: "sensor-1",
			Timestamp: "2026-09-23T14:00:00Z", TenantId: "00000000-0000-4000-8000-000000000001", Raw: line.raw,
		})
	}
	return set, logs
}

// TestFiltersExtract shows that what BenchmarkRealFilters measures is the whole
// work of a filter and not a line that fits nothing.
func TestFiltersExtract(t *testing.T) {
	for i, s := range samples {
		set, logs := filterSet(t, i)
		for j, log := range logs {
			result, err := set.Run(t.Context(), log, echo)
			if err != nil {
				t.Fatal(err)
			}
			got := asJSON(t, result.Event)
			for path, want := range s.lines[j].want {
				if text := gjson.Get(got, path).String(); text != want {
					t.Errorf("%s, line %d: %s is %q, want %q in %s", s.file, j+1, path, text, want, got)
				}
			}
		}
	}
}

// BenchmarkRealFilters runs real filters on their lines, in turn, on one core.
func BenchmarkRealFilters(b *testing.B) {
	for i, s := range samples {
		b.Run(s.dataType, func(b *testing.B) {
			set, logs := filterSet(b, i)
			b.ReportAllocs()
			n, start := 0, cpuTime()
			for b.Loop() {
				if _, err := set.Run(b.Context(), logs[n%len(logs)], echo); err != nil {
					b.Fatal(err)
				}
				n++
			}
			perSecond(b, start)
		})
	}
}
