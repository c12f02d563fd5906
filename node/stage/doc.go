// Package stage is what is done with one item between two streams: a handler
// for each stage, called by the bridge, calling the plugins of this node.
//
//	log    -> Parse     -> event, or a draft for another node
//	draft  -> Parse     -> event (Resume)
//	event  -> Analysis  -> alerts
//	alert  -> Correlation, message -> Notification, both -> Output
//
// A handler knows nothing of batches, acks or retries. What an error of a
// plugin means for its item is decided in verdict, and nowhere else.
package stage
