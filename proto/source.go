package pb

import _ "embed"

// Source is the text of plugins.proto, the plugin contract.
//
//go:embed plugins.proto
var Source string
