package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

// StateAccess says how a plugin reaches the state: a URL, which may be several
// with commas, with a user or a .creds file; or a context file of the nats
// command.
type StateAccess struct {
	URL         string `json:"url,omitempty"`
	User        string `json:"user,omitempty"`
	Password    string `json:"password,omitempty"`
	Credentials string `json:"credentials,omitempty"`
	Context     string `json:"context,omitempty"`
}

// ErrNoState is wrapped by errors of an access that leads nowhere: no attempt
// mends it until somebody changes the configuration.
var ErrNoState = errors.New("no shared state")

// ErrAlone is wrapped, beside ErrNoState, where the node's embedded server takes
// no connections: there is nobody to share with.
var ErrAlone = errors.New("the node's embedded NATS server takes no connections")

// WriteStateAccess writes what the plugins of a node need, for the node's user
// alone (mode 0600). The folder is made where it is not there.
func WriteStateAccess(file string, a StateAccess) error {
	if err := writeAccess(file, a); err != nil {
		return fmt.Errorf("state access file: %w", err)
	}
	return nil
}

// ReadStateAccess reads such a file; url is used where there is none.
func ReadStateAccess(file, url string) (StateAccess, error) {
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && url != "":
		return StateAccess{URL: url}, nil
	case errors.Is(err, fs.ErrNotExist):
		return StateAccess{}, fmt.Errorf("%w: there is no %s, which a node writes as it starts, and NATS_URL is not set", ErrNoState, file)
	case err != nil:
		return StateAccess{}, fmt.Errorf("state access file: %w", err)
	}
	var a StateAccess
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("state access file %s: it is no JSON of ours", file) // its text may be a password
	}
	if a.URL == "" && a.Context == "" {
		return a, fmt.Errorf("%w: %w: set nats.listen, such as 127.0.0.1:4222", ErrNoState, ErrAlone)
	}
	return a, nil
}

// options are the URL and what goes with it.
func (a StateAccess) options() (string, []nats.Option, error) {
	if a.Context != "" {
		return readContext(a.Context)
	}
	var opts []nats.Option
	if a.User != "" {
		opts = append(opts, nats.UserInfo(a.User, a.Password))
	}
	if a.Credentials != "" {
		opts = append(opts, nats.UserCredentials(a.Credentials))
	}
	return a.URL, opts, nil
}

// StateAccess is how plugins reach the embedded server's state, as a user who
// may do nothing else. It is empty where the server does not listen.
func (s *Server) StateAccess() StateAccess {
	if s.Addr() == "" {
		return StateAccess{}
	}
	return StateAccess{URL: s.srv.ClientURL(), User: pluginUser, Password: s.pluginPassword}
}

// hidden takes the secrets of an access out of an error's text.
func (a StateAccess) hidden(err error) error {
	if err == nil || a.Password == "" && !strings.Contains(a.URL, "@") {
		return err
	}
	text := err.Error()
	for u := range strings.SplitSeq(a.URL, ",") {
		if user, _, ok := strings.Cut(u, "@"); ok {
			text = strings.ReplaceAll(text, user, "xxxxx")
		}
	}
	if a.Password != "" {
		text = strings.ReplaceAll(text, a.Password, "xxxxx")
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}
