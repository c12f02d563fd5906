package console

import (
	"bytes"
	"encoding/json"
	"html/template"
	"io"
	"net/http"
	"strconv"
)

// health says that the process lives and answers. It asks nobody: a part that
// does not work is no reason to kill the process.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "ok\n")
}

// state is the answer of /readyz.
type state struct {
	Node  string `json:"node,omitempty"`
	Ready bool   `json:"ready"`
	Parts []Part `json:"parts"`
}

func (s *Server) state() state {
	st := state{Node: s.opt.Node, Ready: true, Parts: []Part{}}
	if s.opt.Parts != nil {
		st.Parts = append(st.Parts, s.opt.Parts()...)
	}
	for _, p := range st.Parts {
		st.Ready = st.Ready && p.Ready
	}
	return st
}

// readiness lists the parts: 200 when all are ready, else 503.
func (s *Server) readiness(w http.ResponseWriter, _ *http.Request) {
	st := s.state()
	body, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !st.Ready {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	w.Write(append(body, '\n'))
}

// page is the page at the root.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	err := page.Execute(&b, struct {
		state
		Metrics, Pprof bool
	}{s.state(), s.opt.Metrics != nil, s.opt.Pprof})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.Write(b.Bytes())
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>epmesh{{with .Node}} · {{.}}{{end}}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
td { padding: 0 1rem 0 0; vertical-align: top }
</style>
</head>
<body>
<h1>epmesh{{with .Node}} · {{.}}{{end}}</h1>
<p>This node is {{if .Ready}}ready{{else}}<strong>not ready</strong>{{end}}.</p>
{{with .Parts}}<table>
{{range .}}<tr><td>{{.Name}}</td><td>{{if .Ready}}ready{{else}}not ready{{with .Reason}}: {{.}}{{end}}{{end}}</td></tr>
{{end}}</table>
{{end}}<ul>
<li><a href="healthz">healthz</a>: the process lives</li>
<li><a href="readyz">readyz</a>: its parts are ready</li>
{{if .Metrics}}<li><a href="metrics">metrics</a>: its numbers, for Prometheus</li>
{{end}}{{if .Pprof}}<li><a href="debug/pprof/">debug/pprof</a>: its profiles</li>
{{end}}</ul>
</body>
</html>
`))
