// Package integration holds the tests that need more than one room of the house.
package integration
