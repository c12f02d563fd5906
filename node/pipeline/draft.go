package pipeline

import (
	"strings"

	"github.com/epmesh/epmesh/node/tree"
	pb "github.com/epmesh/epmesh/proto"
)

// draft is what steps work on. It is used by one goroutine and then reused.
type draft struct {
	*tree.Tree
	errors []string
	more   int // errors beyond maxErrors
	// unknown are the fields of the Draft message that a newer plugin answered
	// and this version does not know: the next plugin may.
	unknown []byte

	// memo remembers what conditions read last, since many ask for the same
	// few fields. What it holds is good as long as the tree was not edited,
	// which a reset is too.
	memo [16]remembered

	values []string // of a grok that is being matched
	walk   walk     // through the steps
}

type remembered struct {
	gen   uint64 // never that of a tree where nothing is remembered
	hash  uint32 // of the path
	path  *tree.Path
	value tree.Value
}

func newDraft(l tree.Limits) *draft { return &draft{Tree: tree.New(l)} }

// reset makes the draft ready for the next log.
func (d *draft) reset() {
	d.Tree.Reset()
	d.errors, d.more, d.unknown = nil, 0, nil
	clear(d.values[:cap(d.values)])
}

// fill makes of an empty draft what the steps begin with.
func (d *draft) fill(log *pb.Log) {
	for _, f := range [...]struct{ name, text string }{
		{"id", log.GetId()},
		{"dataType", log.GetDataType()},
		{"dataSource", log.GetDataSource()},
		{"@timestamp", log.GetTimestamp()},
		{"tenantId", log.GetTenantId()},
		{"raw", log.GetRaw()},
	} {
		if f.text != "" {
			d.SetField(f.name, tree.Text(f.text))
		}
	}
}

// Lookup is the tree's, remembered: it is for conditions. What steps read they
// mostly edit, and read from the tree.
func (d *draft) Lookup(p *tree.Path) tree.Value {
	m := &d.memo[p.Hash()%uint32(len(d.memo))]
	if m.gen == d.Gen() && m.hash == p.Hash() && m.path.Same(p) {
		return m.value
	}
	v := d.Tree.Lookup(p)
	*m = remembered{d.Gen(), p.Hash(), p, v}
	return v
}

// text is the text at a path; false where there is nothing.
func (d *draft) text(p *tree.Path) (string, bool) {
	v := d.Tree.Lookup(p)
	return v.String(), v.Exists()
}

const (
	maxErrors = 100 // kept on an event
	maxError  = 500 // bytes of one
)

// failures is how many errors there were so far.
func (d *draft) failures() int { return len(d.errors) + d.more }

// fail adds an error to the event's.
func (d *draft) fail(st *step, err error) {
	d.note(st.label + ": " + err.Error())
}

// note adds a text to the event's errors.
func (d *draft) note(text string) {
	if len(d.errors) >= maxErrors {
		d.more++
		return
	}
	if len(text) > maxError {
		text = text[:maxError] + "..."
	}
	d.errors = append(d.errors, strings.ToValidUTF8(text, ""))
}
