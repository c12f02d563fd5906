package main

import (
	"time"

	"github.com/epmesh/epmesh/plugins"
	"github.com/google/uuid"
)

func main() {
	pluginName := "my-data-source"

	// Sends in the background what is queued below.
	go plugins.SendLogsFromChannel(pluginName)

	for {
		plugins.EnqueueLog(&plugins.Log{
			Id:         uuid.NewString(),
			DataType:   "custom_data",
			DataSource: "external_api",
			Timestamp:  time.Now().Format(time.RFC3339),
			Raw:        `{"message": "hello world"}`,
		}, pluginName)

		time.Sleep(10 * time.Second)
	}
}
