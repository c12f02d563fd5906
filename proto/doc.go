// Package pb holds the generated Go of the plugin contract (plugins.proto), of
// what travels between nodes (mesh.proto, and history.proto between instances of
// the cel plugin), and of the batch lane that a plugin may serve beside the
// contract (lane.proto).
//
// The generated files are committed, so that users need no protobuf tools; a
// test fails when they are stale. A program must not link this package and the
// official SDK's plugins package at once: both register the protobuf package
// "plugins".
package pb

//go:generate go run ./protogen
