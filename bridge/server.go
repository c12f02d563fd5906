package bridge

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ServerOptions set up the embedded server.
type ServerOptions struct {
	Name string
	// Dir keeps the streams.
	Dir string
	// Listen is the address for other clients ("host:port", port 0 for any), or
	// empty for none.
	Listen string
	// SyncInterval is how often writes are synced to disk; 0 syncs every write
	// before it is acknowledged.
	SyncInterval time.Duration
	// MaxPayload bounds one stored message, in bytes.
	MaxPayload int
	// AccessFile gets the address and the operator's password for commands run
	// by the same user, mode 0600; empty for none.
	AccessFile string
	// Cluster makes it one of many.
	Cluster ClusterOptions
	// Leaf makes it a leaf of a hub: see Bridge.OpenHub.
	Leaf LeafOptions
	// Edges makes it the hub of edges.
	Edges  EdgesOptions
	Logger hclog.Logger
}

// Access is how the commands of the same user reach a node's embedded server.
type Access struct {
	URL      string `json:"url"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// ReadAccess reads the file that an embedded server keeps while it runs.
func ReadAccess(file string) (Access, error) {
	var a Access
	data, err := os.ReadFile(file)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("read %s: %w", file, err)
	}
	return a, nil
}

const (
	nodeUser     = "node"
	operatorUser = "operator"
	pluginUser   = "plugin"
)

// Server is a JetStream server inside this process.
type Server struct {
	srv            *server.Server
	nodePassword   string
	pluginPassword string
	accessFile     string
	sync           time.Duration
	listens        bool
	cluster        ClusterOptions

	leaf        *leafLogger // nil for one that is no leaf
	hubPassword string
	edges       bool
}

// StartServer starts an embedded server and waits until it takes connections;
// for the other servers of its cluster Open waits.
// Only processes that know a password get in: the node by a random one that
// never leaves the process, commands by the one in the access file, plugins by
// the one of StateAccess.
func StartServer(o ServerOptions) (*Server, error) {
	opts := &server.Options{
		ServerName:             o.Name,
		JetStream:              true,
		StoreDir:               o.Dir,
		SyncAlways:             o.SyncInterval == 0,
		SyncInterval:           o.SyncInterval,
		MaxPayload:             int32(o.MaxPayload),
		MaxPending:             max(server.MAX_PENDING_SIZE, int64(4*o.MaxPayload)),
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		DontListen:             true,
	}
	if o.SyncInterval == 0 {
		// Metadata is written in the background; its interval stays the server's.
		opts.SyncInterval = 2 * time.Minute
	}
	if o.Listen != "" {
		var err error
		if opts.Host, opts.Port, err = splitListen("nats.listen", o.Listen); err != nil {
			return nil, err
		}
		opts.DontListen = false
	}
	if err := o.Cluster.apply(opts); err != nil {
		return nil, err
	}
	if o.Cluster.on() && opts.DontListen {
		// The server takes routes only once it takes clients. Nobody is told of
		// this port, nor has a password for it.
		opts.Host, opts.Port, opts.DontListen = "127.0.0.1", server.RANDOM_PORT, false
	}
	s := &Server{nodePassword: rand.Text(), pluginPassword: rand.Text(), accessFile: o.AccessFile, sync: o.SyncInterval, listens: o.Listen != "", cluster: o.Cluster}
	operatorPassword := rand.Text()
	opts.Users = []*server.User{
		{Username: nodeUser, Password: s.nodePassword, AllowedConnectionTypes: map[string]struct{}{"IN_PROCESS": {}}},
		{Username: operatorUser, Password: operatorPassword, Permissions: operatorPermissions()},
		{Username: pluginUser, Password: s.pluginPassword, Permissions: statePermissions()},
	}
	s.hubPassword = rand.Text()
	if err := o.Leaf.apply(opts, s.hubPassword); err != nil {
		return nil, err
	}
	if err := o.Edges.apply(opts); err != nil {
		return nil, err
	}
	s.edges = o.Edges.Listen != ""
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("nats server: %w", err)
	}
	logger := o.Logger
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	if o.Leaf.on() {
		s.leaf = &leafLogger{serverLogger: serverLogger{logger}}
		srv.SetLoggerV2(s.leaf, false, false, false)
	} else {
		srv.SetLoggerV2(serverLogger{logger}, false, false, false)
	}
	s.srv = srv
	go srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("nats server: not ready after 30s: see its log; is %s readable and its disk not full?", o.Dir)
	}
	if !srv.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("nats server: JetStream could not open %s: see its log", o.Dir)
	}
	if err := o.Leaf.enableStreams(srv); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("nats server: JetStream could not open %s: %w", o.Dir, err)
	}
	if o.AccessFile != "" && o.Listen != "" {
		if err := writeAccess(o.AccessFile, Access{URL: srv.ClientURL(), User: operatorUser, Password: operatorPassword}); err != nil {
			s.Shutdown()
			return nil, fmt.Errorf("nats access file: %w", err)
		}
	}
	return s, nil
}

// operatorPermissions let a person look, replay dead letters, and push
// configuration.
func operatorPermissions() *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.>", "epmesh.>", "$KV." + ConfigBucket + ".>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "epmesh.>"}},
	}
}

func writeAccess(file string, a any) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// Addr is where other clients connect, or empty.
func (s *Server) Addr() string {
	if a := s.srv.Addr(); a != nil && s.listens {
		return a.String()
	}
	return ""
}

// ClusterAddr is where the other servers of the cluster connect, or empty.
func (s *Server) ClusterAddr() string {
	if a := s.srv.ClusterAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Shutdown ends the server and returns when its files are closed.
func (s *Server) Shutdown() {
	if s.accessFile != "" {
		_ = os.Remove(s.accessFile)
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// serverLogger hands the server's log on, one level lower than it thinks of
// itself: its notices are details of ours.
type serverLogger struct{ l hclog.Logger }

func (s serverLogger) Noticef(f string, v ...any) { s.l.Debug(trimmed(f, v)) }
func (s serverLogger) Errorf(f string, v ...any)  { s.l.Error(trimmed(f, v)) }
func (s serverLogger) Fatalf(f string, v ...any)  { s.l.Error(trimmed(f, v)) }
func (s serverLogger) Debugf(f string, v ...any)  { s.l.Trace(trimmed(f, v)) }
func (s serverLogger) Tracef(f string, v ...any)  { s.l.Trace(trimmed(f, v)) }

// Warnf leaves out the server's advice against passwords in configuration files:
// ours are random, new at each start, and in no configuration.
func (s serverLogger) Warnf(f string, v ...any) {
	if text := trimmed(f, v); !strings.HasPrefix(text, "Plaintext passwords detected") {
		s.l.Warn(text)
	}
}

func trimmed(f string, v []any) string { return strings.TrimSpace(fmt.Sprintf(f, v...)) }

// connectOptions are what a connection inside this process needs.
func (s *Server) connectOptions() []nats.Option {
	return []nats.Option{nats.InProcessServer(s.srv), nats.UserInfo(nodeUser, s.nodePassword)}
}
