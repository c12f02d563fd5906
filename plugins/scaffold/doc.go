// Package scaffold writes new plugin projects: code that does something small
// and real, its test, the commands to build and install it, and a pipeline file
// that puts it to work. What it writes is in templates.
package scaffold
