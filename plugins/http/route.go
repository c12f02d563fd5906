package httpin

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// routable says whether the paths can be told apart. The standard library's mux
// panics where they cannot.
func routable(paths []path) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%.300v", r)
		}
	}()
	mux := http.NewServeMux()
	for _, p := range append(slices.Clone(paths), path{Path: "/healthz"}) {
		mux.Handle(p.pattern(), http.NotFoundHandler())
	}
	return nil
}

// pattern is the path for the mux. One that ends in a slash means itself, not
// all that is below it.
func (p path) pattern() string {
	if strings.HasSuffix(p.Path, "/") {
		return p.Path + "{$}"
	}
	return p.Path
}

// Where a client says what it is allowed to choose.
var (
	choiceHeader = map[string]string{"dataType": "X-Data-Type", "dataSource": "X-Data-Source", "tenant": "X-Tenant"}
	choiceQuery  = map[string]string{"dataType": "dataType", "dataSource": "dataSource", "tenant": "tenant"}
)

// settle says where a request's logs are from. What a token is bound to holds;
// then what the client chose, if it may; then the path's and the listener's
// settings. A client that says more than it may is told so: to store its logs
// under another name than it believes would be worse.
func settle(r *http.Request, l listener, p path, bound origin) (origin, *refusal) {
	own, general := p.origin(), l.origin()
	o := origin{
		dataType:   cmp.Or(bound.dataType, own.dataType, general.dataType),
		dataSource: cmp.Or(bound.dataSource, own.dataSource, general.dataSource),
		tenant:     cmp.Or(bound.tenant, own.tenant, general.tenant),
	}
	query := r.URL.Query()
	for _, name := range choices {
		field, held := &o.dataType, bound.dataType
		switch name {
		case "dataSource":
			field, held = &o.dataSource, bound.dataSource
		case "tenant":
			field, held = &o.tenant, bound.tenant
		}
		chosen := r.PathValue(name)
		may := chosen != "" || slices.Contains(p.Choose, name)
		for _, said := range []string{r.Header.Get(choiceHeader[name]), query.Get(choiceQuery[name])} {
			switch {
			case said == "":
			case chosen != "" && said != chosen:
				return o, refuse(http.StatusBadRequest, "%s is said twice, and differently", name)
			default:
				chosen = said
			}
		}
		switch {
		case chosen == "":
		case held != "" && chosen != held:
			return o, refuse(http.StatusForbidden, "this token is bound to another %s", name)
		case held != "":
		case !may:
			return o, refuse(http.StatusForbidden, "clients may not choose the %s here: leave it out, or let the operator add it to choose", name)
		case !sound(chosen):
			return o, refuse(http.StatusBadRequest, "%s: want at most %d bytes of printable text", name, maxName)
		default:
			*field = chosen
		}
	}
	o.dataType = cmp.Or(o.dataType, "generic")
	return o, nil
}

// remote is the address of a request's sender.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	host, _, _ = strings.Cut(host, "%")
	return host
}
