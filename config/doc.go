// Package config turns files, environment and flags into checked values. It is
// the only package that knows YAML, and it knows neither NATS nor gRPC.
//
// LoadSettings gives what one node is told about itself, Load what the pipeline
// files say should be done with logs, and Watch tells when those change. Both
// report every mistake at once, with its place and its cure.
package config
