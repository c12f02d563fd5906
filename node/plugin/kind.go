package plugin

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is what a plugin serves on one socket.
type Kind string

// The kinds that the contract has sockets for.
const (
	Parsing      Kind = "parsing"
	Analysis     Kind = "analysis"
	Correlation  Kind = "correlation"
	Notification Kind = "notification"
	Output       Kind = "output"
)

// Kinds lists every kind.
var Kinds = []Kind{Parsing, Analysis, Correlation, Notification, Output}

// SocketName is the file name of a plugin's socket.
func SocketName(kind Kind, name string) string {
	return name + "_" + string(kind) + ".sock"
}

// ParseSocketName is the inverse of SocketName. The name is what stands before
// the kind's suffix, so it may hold underscores and dots itself.
func ParseSocketName(file string) (kind Kind, name string, ok bool) {
	for _, k := range Kinds {
		if name, ok := strings.CutSuffix(file, "_"+string(k)+".sock"); ok && name != "" {
			return k, name, true
		}
	}
	return "", "", false
}

// maxName keeps a socket's file name below the 255 bytes of file systems.
const maxName = 200

// CheckName says why a plugin cannot have this name; nil if it can.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a plugin needs a name")
	case len(name) > maxName:
		return fmt.Errorf("plugin name %.20q... is longer than %d bytes", name, maxName)
	case strings.ContainsAny(name, "/\x00\n\r"):
		return fmt.Errorf("plugin name %q: a slash, NUL or line break cannot be part of a socket's name", name)
	}
	return nil
}
