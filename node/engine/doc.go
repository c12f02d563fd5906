// Package engine is the engine socket: the Input and Notify methods that input
// plugins, and plugins with something to tell, call on
// WORK_DIR/sockets/engine_server.sock.
//
// An Ack goes out only when all that it covers is stored. Each stream has a
// receiver, which fills batches, and a few workers, which publish them: what
// arrives while they are busy goes out together, and what arrives while they
// are idle goes out at once. When storing is slow, the receivers stop reading
// at Options.MaxBuffered, and gRPC's flow control makes the senders wait.
package engine
