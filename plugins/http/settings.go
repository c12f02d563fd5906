package httpin

import (
	"fmt"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// settings are plugins.<name> in the configuration.
type settings struct {
	Listeners []listener `json:"listeners"`
	// Tokens are the bearer tokens; without any, nobody is asked for one.
	Tokens []token `json:"tokens"`
	// MaxBody bounds a request's body, as it comes and as it is uncompressed.
	MaxBody int `json:"maxBody"`
	// MaxRecord bounds one record, in bytes.
	MaxRecord int `json:"maxRecord"`
	// MaxRecords bounds the records of a request.
	MaxRecords int `json:"maxRecords"`
	// MaxRequests and MaxInHand bound what was taken and is not stored yet, of
	// all listeners together: requests, and bytes of their bodies.
	MaxRequests int `json:"maxRequests"`
	MaxInHand   int `json:"maxInHand"`
	// MaxConnections bounds the connections of one listener.
	MaxConnections int `json:"maxConnections"`
	// HeaderTimeout, ReadTimeout and IdleTimeout bound how long a client may
	// take over a request's header, its body, and between two requests.
	HeaderTimeout plugins.Duration `json:"headerTimeout"`
	ReadTimeout   plugins.Duration `json:"readTimeout"`
	IdleTimeout   plugins.Duration `json:"idleTimeout"`
	// StoreTimeout is how long a request waits for the node to store it.
	StoreTimeout plugins.Duration `json:"storeTimeout"`
	// RetryAfter is what a client is told to wait when it comes too early.
	RetryAfter plugins.Duration `json:"retryAfter"`
	// Reload is the pause between two looks at token and certificate files.
	Reload      plugins.Duration `json:"reload"`
	Idempotency idempotency      `json:"idempotency"`
}

// idempotency is what is remembered of requests that carry a key.
type idempotency struct {
	// Keys is how many are remembered, the latest.
	Keys int `json:"keys"`
	// Keep is for how long.
	Keep plugins.Duration `json:"keep"`
}

// listener is one address, and what holds for all of its paths.
type listener struct {
	Listen string      `json:"listen"`
	TLS    tlsSettings `json:"tls"`
	// Insecure lets it listen beyond this machine without TLS, or without
	// asking who a client is.
	Insecure bool   `json:"insecure"`
	Paths    []path `json:"paths"`
	// DataType, DataSource and Tenant are those of its logs, where nothing nearer
	// to the log says otherwise.
	DataType   string `json:"dataType"`
	DataSource string `json:"dataSource"`
	Tenant     string `json:"tenant"`
}

// tlsSettings name files, which are read again when they change.
type tlsSettings struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
	// ClientCA makes clients show a certificate that one of these signed.
	ClientCA string `json:"clientCA"`
}

// origin is where logs are from. What is empty is settled elsewhere.
type origin struct{ dataType, dataSource, tenant string }

func (l listener) origin() origin { return origin{l.DataType, l.DataSource, l.Tenant} }
func (p path) origin() origin     { return origin{p.DataType, p.DataSource, p.Tenant} }
func (t token) origin() origin    { return origin{t.DataType, t.DataSource, t.Tenant} }

// path is one path of a listener, and how its requests are read.
type path struct {
	// Path may hold {dataType}, {dataSource} and {tenant} as whole segments.
	Path   string `json:"path"`
	Format string `json:"format"`
	// Choose lists what of dataType, dataSource and tenant a client may say by
	// header or query.
	Choose []string `json:"choose"`
	Fields fields   `json:"fields"`
	// Body makes the body of an OTLP record the whole log, where it is a text.
	Body bool `json:"bodyOnly"`
	// SameBody takes a request with exactly the bytes of an earlier one as that
	// one sent again.
	SameBody bool `json:"sameBody"`
	// DataType, DataSource and Tenant are those of its logs, where nothing nearer
	// to the log says otherwise.
	DataType   string `json:"dataType"`
	DataSource string `json:"dataSource"`
	Tenant     string `json:"tenant"`
}

// fields name where in a record something stands: dotted paths in JSON,
// attributes in OTLP.
type fields struct {
	ID         string `json:"id"`
	Timestamp  string `json:"timestamp"`
	DataType   string `json:"dataType"`
	DataSource string `json:"dataSource"`
	Raw        string `json:"raw"`
}

// token is a file with bearer tokens, one a line, and where logs of their
// bearers are from.
type token struct {
	File string `json:"file"`
	// DataType, DataSource and Tenant are those of its logs, where nothing nearer
	// to the log says otherwise.
	DataType   string `json:"dataType"`
	DataSource string `json:"dataSource"`
	Tenant     string `json:"tenant"`
}

// Formats of a path.
const (
	formatAuto  = "auto"
	formatLines = "lines"
	formatJSON  = "json"
	formatOTLP  = "otlp"
)

func defaults() settings {
	return settings{
		MaxBody: 16 << 20, MaxRecord: 1_000_000, MaxRecords: 50_000,
		MaxRequests: 64, MaxInHand: 64 << 20, MaxConnections: 512,
		HeaderTimeout: plugins.Duration(10 * time.Second),
		ReadTimeout:   plugins.Duration(time.Minute),
		IdleTimeout:   plugins.Duration(2 * time.Minute),
		StoreTimeout:  plugins.Duration(30 * time.Second),
		RetryAfter:    plugins.Duration(2 * time.Second),
		Reload:        plugins.Duration(5 * time.Second),
		Idempotency:   idempotency{Keys: 65536, Keep: plugins.Duration(24 * time.Hour)},
	}
}

// defaultPaths are a listener's where it names none.
func defaultPaths() []path {
	return []path{{Path: "/logs"}, {Path: "/v1/logs", Format: formatOTLP}}
}

// Defaults are the settings with what holds where nothing is said: one listener
// and one token show theirs.
func Defaults() any {
	s := defaults()
	s.Listeners = []listener{{Paths: defaultPaths(), DataType: "generic"}}
	for i := range s.Listeners[0].Paths {
		if p := &s.Listeners[0].Paths[i]; p.Format == "" {
			p.Format = formatAuto
		}
	}
	s.Tokens = []token{{}}
	return s
}

// New makes the plugin from its settings. Token and certificate files are read
// once, so that what is wrong with them is an error here.
func New(i plugins.Instance) (plugins.Runner, error) {
	s := defaults()
	if err := i.Settings(&s); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	srv := &server{Instance: i, settings: s}
	if err := srv.prepare(); err != nil {
		return nil, fmt.Errorf("plugins.%s: %w", i.Name, err)
	}
	return srv, nil
}
