// Package plugins is the Go kit for plugins of epmesh and of the EventProcessor
// that it distributes. A plugin is a process of its own that speaks gRPC over
// Unix sockets below WORK_DIR/sockets.
//
// Two layers stand beside each other:
//
//   - The helpers of the official SDK, under the same names: InitParsingPlugin,
//     InitAnalysisPlugin, InitCorrelationPlugin, InitNotificationPlugin,
//     SendLogsFromChannel, EnqueueLog, SendNotificationsFromChannel,
//     EnqueueNotification, PluginCfg. A program written for the SDK compiles
//     with only the import path changed.
//   - An API that takes a context and loses nothing: Serve for plugins that are
//     called, NewInput and NewNotifier for those that send, Settings and
//     WatchSettings for what is configured. A log counts as sent when the node has
//     stored it.
//
// Whatever is called, by either layer, is served by the batch lane as well
// (proto/lane.proto): the node hands over many items in one message, and a
// function still gets one.
//
// The package logs through an hclog.Logger that is handed in; the helpers, which
// take none, write JSON lines to standard error, where the node reads them.
package plugins
