// Package config turns files, environment and flags into checked values. It is
// the only package that knows YAML, and it knows neither NATS nor gRPC.
package config
