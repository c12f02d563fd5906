package config

import (
	"strings"
	"testing"
)

// What contradicts the durability that is asked for is refused, with its cure;
// what the servers alone can tell is not judged here.
func TestDurability(t *testing.T) {
	const cluster = "CLUSTER_LISTEN=127.0.0.1:0 CLUSTER_ROUTES=127.0.0.1:1,127.0.0.1:2 "
	for given, want := range map[string]string{ // below EPMESH_NATS_; want is in the error, "" is none
		"":                                  "",
		"DURABILITY=":                       "",
		"DURABILITY=crash":                  "",
		"DURABILITY=crash SYNC=2m":          "",
		"DURABILITY=crash,power-loss":       "",
		"DURABILITY=power-loss SYNC=always": "",
		"DURABILITY=power-loss SYNC=2m":     "nats.sync is 2m: what was acked after the last sync would be lost; set nats.sync: always",
		"DURABILITY=powerloss":              `"powerloss" is none of crash, power-loss, server-loss; did you mean power-loss?`,
		"DURABILITY=all":                    `leave it empty`,
		"DURABILITY=server-loss":            "nats.replicas is 1: after the loss of one server there is no majority of copies; give nats.cluster",
		cluster + "DURABILITY=server-loss REPLICAS=1":                     "nats.replicas is 1: after the loss of one server there is no majority of copies; set nats.replicas: 3",
		cluster + "DURABILITY=server-loss REPLICAS=2":                     "nats.replicas is 2",
		cluster + "DURABILITY=crash,power-loss,server-loss REPLICAS=3":    "",
		cluster + "DURABILITY=power-loss REPLICAS=3 SYNC=1s":              "nats.sync is 1s",
		"LEAF_URL=nats-leaf://127.0.0.1:1 DURABILITY=power-loss":          "",
		"LEAF_URL=nats-leaf://127.0.0.1:1 DURABILITY=server-loss":         "ask for it at the hub's nodes, or do not ask for it",
		"URL=nats://h DURABILITY=crash":                                   "",
		"URL=nats://h DURABILITY=crash,server-loss REPLICAS=3":            "",
		"URL=nats://h DURABILITY=server-loss REPLICAS=2":                  "nats.replicas is 2",
		"URL=nats://h DURABILITY=power-loss":                              "say so with nats.external_sync: always",
		"URL=nats://h DURABILITY=power-loss EXTERNAL_SYNC=2m":             "nats.external_sync is 2m",
		"URL=nats://h DURABILITY=power-loss EXTERNAL_SYNC=always":         "",
		"URL=nats://h EXTERNAL_SYNC=often":                                `"often" is neither "always" nor an interval`,
		"URL=nats://h DURABILITY=power-loss EXTERNAL_SYNC=always SYNC=2m": "",
	} {
		vars := map[string]string{"WORK_DIR": t.TempDir()}
		for _, set := range strings.Fields(given) {
			key, value, _ := strings.Cut(set, "=")
			vars["EPMESH_NATS_"+key] = value
		}
		_, err := LoadSettings(Sources{Lookup: environment(vars)})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", given, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v; want %q", given, err, want)
		}
	}
}

// The word about an external server is of no use to one that is embedded, and no
// mistake: commands may name another server than the file.
func TestExternalSyncOfAnEmbeddedServer(t *testing.T) {
	var warned []string
	_, err := LoadSettings(Sources{
		Dir: t.TempDir(), Lookup: environment(map[string]string{"EPMESH_NATS_EXTERNAL_SYNC": "always"}),
		Warn: func(p Problem) { warned = append(warned, p.String()) },
	})
	if err != nil || len(warned) != 1 || !strings.Contains(warned[0], "nats.external_sync has no effect") {
		t.Errorf("%q, %v", warned, err)
	}
}
