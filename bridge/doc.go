// Package bridge is the only user of NATS: topology, subjects, batches,
// publishing, consuming, dead letters. It knows nothing of plugins or stages; a
// stage hands it a Handler that does the work on one item, and everything about
// fetching, batching, concurrency, acks and retries lives here alone.
package bridge
