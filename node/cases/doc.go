// Package cases runs the cases of case files through their pipelines and says
// what came differently than wanted, and what to want so that it does not.
//
// Run does it all; File.Update gives the text of a case file whose wants are
// what came.
package cases
