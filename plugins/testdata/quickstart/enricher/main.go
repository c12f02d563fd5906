package main

import (
	"context"

	"github.com/epmesh/epmesh/plugins"
	"github.com/tidwall/sjson"
)

func main() {
	// "my-enricher" is served on WORK_DIR/sockets/my-enricher_parsing.sock.
	plugins.InitParsingPlugin("my-enricher", parseLog)
}

func parseLog(ctx context.Context, tr *plugins.Transform) (*plugins.Draft, error) {
	newLog, _ := sjson.Set(tr.Draft.Log, "log.custom_status", "processed_by_plugin")
	tr.Draft.Log = newLog

	return tr.Draft, nil
}
