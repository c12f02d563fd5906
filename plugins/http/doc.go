// Package httpin is the bundled input plugin http: it takes logs over HTTP, as
// plain lines, newline-JSON, JSON arrays and OTLP.
//
// A request is answered with success once the node has stored all of its
// records, and not before. A record that cannot be taken refuses its whole
// request, but for OTLP, whose answer can say how many were left out. What is in
// hand is bounded in requests and bytes; beyond that a client is told to come
// again. A request that carries an Idempotency-Key may be sent again at will.
package httpin
