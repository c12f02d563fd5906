package bridge

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// EdgesOptions make an embedded server, alone or of a cluster, the hub of edges.
// The zero value is none.
type EdgesOptions struct {
	// Listen is the address for edges, "" for none.
	Listen string
	// Users is a file with a line "NODE PASSWORD" for each edge; lines that begin
	// with # say nothing. The password may be a bcrypt hash.
	Users string
	// TLS is needed, certificate and key at least, unless Listen is of this machine
	// alone or Insecure is set. With a CA edges have to show a certificate of it.
	TLS      TLSFiles
	Insecure bool
}

// edgePermissions are all that an edge may do: hand over logs and messages, and
// hear whether they are stored.
func edgePermissions(node string) *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{subjectLog + ">", subjectMsg + ">"}},
		Subscribe: &server.SubjectPermission{Allow: []string{EdgeInbox(node) + ".>"}},
	}
}

// apply makes opts those of a hub.
func (o EdgesOptions) apply(opts *server.Options) error {
	if o.Listen == "" {
		return nil
	}
	host, port, err := splitListen("nats.edges.listen", o.Listen)
	if err != nil {
		return err
	}
	opts.LeafNode.Host, opts.LeafNode.Port = host, port
	// Edges go to the addresses that they were given, which certificates are for.
	opts.LeafNode.NoAdvertise = true
	if o.TLS.given() {
		if opts.LeafNode.TLSConfig, err = o.TLS.server(); err != nil {
			return fmt.Errorf("nats edges: %w", err)
		}
		opts.LeafNode.TLSTimeout, opts.LeafNode.AuthTimeout = leafWait.Seconds(), 2*leafWait.Seconds()
	} else if !loopback(o.Listen) && !o.Insecure {
		return errors.New("nats edges: beyond this machine TLS is needed: give nats.edges.tls.cert and key (epmesh cert makes them), or say nats.edges.insecure: true")
	}
	users, err := readEdges(o.Users)
	if err != nil {
		return err
	}
	opts.Users = append(opts.Users, users...)
	return nil
}

// readEdges reads the users of edges. What it says of a line tells no secret.
func readEdges(file string) ([]*server.User, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("nats.edges.users: %w", err)
	}
	var users []*server.User
	seen := map[string]bool{nodeUser: true, operatorUser: true, pluginUser: true}
	for i, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("nats.edges.users: %s:%d: write the name of an edge's node and its password", file, i+1)
		}
		if seen[fields[0]] {
			return nil, fmt.Errorf("nats.edges.users: %s:%d: the name is taken; each edge has its own", file, i+1)
		}
		seen[fields[0]] = true
		users = append(users, &server.User{
			Username: fields[0], Password: fields[1], Permissions: edgePermissions(fields[0]),
			AllowedConnectionTypes: map[string]struct{}{"LEAFNODE": {}},
		})
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("nats.edges.users: %s names no edge", file)
	}
	return users, nil
}

// EdgesAddr is where edges connect, or empty.
func (s *Server) EdgesAddr() string {
	if !s.edges {
		return ""
	}
	v, err := s.srv.Varz(nil)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", v.LeafNode.Host, v.LeafNode.Port)
}
