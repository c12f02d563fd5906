package httpin

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/epmesh/epmesh/plugins"
)

// maxKey bounds an Idempotency-Key, in bytes.
const maxKey = 255

// take works on one request from its header to its answer.
func (s *server) take(w http.ResponseWriter, r *http.Request, l listener, p path) {
	s.working.RLock()
	defer s.working.RUnlock()
	form := formOf(r, p)
	if s.stopped {
		s.answer(w, form, result{}, again(http.StatusServiceUnavailable, "stopping"))
		return
	}
	done, no := s.store(r, l, p, form)
	if no != nil {
		s.counts.refused(no.status)
		s.Logger.Debug("request refused", "status", no.status, "reason", clip(no.text), "from", remote(r), "path", clip(r.URL.Path))
	}
	s.answer(w, form, done, no)
}

// formOf is how an OTLP request comes and is answered.
func formOf(r *http.Request, p path) otlpForm {
	switch {
	case p.Format != formatOTLP:
		return notOTLP
	case mediaOf(r) == mediaJSON:
		return otlpJSON
	}
	return otlpProtobuf
}

// mediaOf is the media type of a request's body, without parameters.
func mediaOf(r *http.Request) string {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

// store returns once all records of a request are stored, or says why not. What
// can be refused for is looked at from the cheapest on: nothing of a body is read
// before its sender is known and there is room for it.
func (s *server) store(r *http.Request, l listener, p path, form otlpForm) (result, *refusal) {
	who, no := s.tokens.admit(r)
	if no != nil {
		return result{}, no
	}
	if r.Method != http.MethodPost {
		return result{}, refuse(http.StatusMethodNotAllowed, "logs are sent with POST")
	}
	from, no := settle(r, l, p, s.tokens.bound(who))
	if no != nil {
		return result{}, no
	}
	key := r.Header.Get("Idempotency-Key")
	if len(key) > maxKey {
		return result{}, refuse(http.StatusBadRequest, "Idempotency-Key: want at most %d bytes", maxKey)
	}
	decode, no := s.decoder(r, p, form)
	if no != nil {
		return result{}, no
	}
	room := s.hand.enter()
	if room == nil {
		return result{}, again(http.StatusTooManyRequests, "as many requests are in hand as may be (maxRequests)")
	}
	defer room.release()
	body, no := readBody(r.Body, r.ContentLength, r.Header.Get("Content-Encoding"), s.MaxBody, room)
	if no != nil {
		return result{}, no
	}
	list, left, no := decode(body, room)
	if no != nil {
		return result{}, no
	}
	j := job{server: s, from: from, bound: s.tokens.bound(who), remote: remote(r), room: room, list: list}

	ctx, cancel := context.WithTimeout(r.Context(), s.StoreTimeout.D())
	defer cancel()
	if key == "" && p.SameBody {
		key = "the body"
	}
	if key == "" {
		j.at, j.id = time.Now(), freshID()
		no = j.send(ctx)
	} else {
		scope := sum(s.tokens.name(who), p.Path, from.dataType, from.tenant, key)
		content := sum(text(body))
		if p.SameBody && r.Header.Get("Idempotency-Key") == "" {
			scope = sum(scope.String(), content.String())
		}
		var stored int
		if j.at, stored, no = s.keys.begin(ctx, scope, content, time.Now()); no != nil {
			return result{}, no
		}
		if stored >= 0 {
			s.counts.repeated.Add(1)
			left.stored, left.repeated = stored, true
			return left, nil
		}
		j.id = sum(scope.String(), content.String()).String()
		ended := -1
		defer func() { s.keys.end(scope, ended) }()
		if no = j.send(ctx); no == nil {
			ended = len(list)
		}
	}
	if no != nil {
		return result{}, no
	}
	s.counts.requests.Add(1)
	s.counts.records.Add(uint64(len(list)))
	s.counts.bytes.Add(uint64(len(body)))
	s.counts.rejected.Add(uint64(left.rejected))
	left.stored = len(list)
	return left, nil
}

// decoder is what makes records of a body, by the path's format and the
// request's media type.
func (s *server) decoder(r *http.Request, p path, form otlpForm) (func([]byte, *claim) ([]record, result, *refusal), *refusal) {
	var read func(*records, []byte) *refusal
	media := mediaOf(r)
	switch {
	case form == otlpProtobuf && media != mediaProtobuf:
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type %q: OTLP is sent as %s or %s", clip(r.Header.Get("Content-Type")), mediaProtobuf, mediaJSON)
	case form != notOTLP:
		return func(body []byte, room *claim) ([]record, result, *refusal) {
			o := &otlp{records: s.records(p, room), most: 4 * s.MaxBody}
			read := o.protobuf
			if form == otlpJSON {
				read = o.json
			}
			no := read(body)
			return o.all, result{rejected: o.rejected, reason: o.reason}, no
		}, nil
	case p.Format == formatLines:
		read = (*records).lines
	case p.Format == formatJSON || strings.HasSuffix(media, "json") || strings.HasSuffix(media, "jsonl") || strings.HasSuffix(media, "json-lines") || strings.HasSuffix(media, "json_lines"):
		read = (*records).json
	case media == "text/plain":
		read = (*records).lines
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type %q: send application/json (values or arrays), application/x-ndjson or text/plain (a log a line)", clip(r.Header.Get("Content-Type")))
	}
	return func(body []byte, room *claim) ([]record, result, *refusal) {
		rs := s.records(p, room)
		no := read(rs, body)
		return rs.all, result{}, no
	}, nil
}

func (s *server) records(p path, room *claim) *records {
	return &records{path: p, maxRecord: s.MaxRecord, maxRecords: s.MaxRecords, room: room}
}

// freshID is what the ids of a request without a key begin with.
func freshID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // does not fail
	return hex.EncodeToString(b[:])
}

// job is a request whose records are ready to be sent.
type job struct {
	*server
	from   origin
	bound  origin // by the token: no record says otherwise
	remote string
	at     time.Time
	id     string
	room   *claim
	list   []record
}

// send returns once the node has stored all records. Those that were sent when
// ctx ends are stored in their own time; they hold their room until then.
func (j *job) send(ctx context.Context) *refusal {
	if len(j.list) == 0 {
		return nil
	}
	var left atomic.Int64
	left.Store(int64(len(j.list)))
	all := make(chan struct{})
	stored := func() {
		if left.Add(-1) == 0 {
			close(all)
		}
		j.room.release()
	}
	at := j.at.UTC().Format(time.RFC3339Nano)
	for i, r := range j.list {
		j.room.hold()
		err := j.in.SendFunc(ctx, &plugins.Log{
			Id:         cmp.Or(j.own(r.id), j.id+"-"+strconv.Itoa(i)),
			DataType:   cmp.Or(j.bound.dataType, r.dataType, j.from.dataType),
			DataSource: cmp.Or(j.bound.dataSource, r.dataSource, j.from.dataSource, r.host, j.remote),
			Timestamp:  cmp.Or(r.timestamp, at),
			TenantId:   j.from.tenant,
			Raw:        r.raw,
		}, stored)
		if err == nil {
			continue
		}
		j.room.release()
		if ctx.Err() != nil || errors.Is(err, plugins.ErrClosed) {
			return late()
		}
		return wrong(i, "record %d: %v", i, err)
	}
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return late()
	}
}

func late() *refusal {
	return again(http.StatusServiceUnavailable, "not all is stored yet: send the request again, with the same Idempotency-Key if it had one")
}

// own is the id of a record that says one, made the tenant's own: nobody can take
// another's ids in advance.
func (j *job) own(id string) string {
	if id == "" {
		return ""
	}
	return sum("record", j.from.tenant, j.from.dataType, id).String()
}
