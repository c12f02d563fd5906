// Package integration holds the tests that need more than one room of the house:
// nodes and plugins as real processes, killed at random moments, over embedded
// and external servers, with plugins in other languages and of the official SDK.
// docs/testing.md describes them.
package integration
