package plugins

import pb "github.com/epmesh/epmesh/proto"

// The contract's messages and services, under the names that plugin programs
// use.
type (
	Log       = pb.Log
	Draft     = pb.Draft
	Transform = pb.Transform
	Event     = pb.Event
	Alert     = pb.Alert
	Message   = pb.Message
	Ack       = pb.Ack

	Side             = pb.Side
	Impact           = pb.Impact
	Geolocation      = pb.Geolocation
	DiskInfo         = pb.DiskInfo
	ComplianceValues = pb.ComplianceValues

	Config   = pb.Config
	Pipeline = pb.Pipeline
	Tenant   = pb.Tenant
	Asset    = pb.Asset
	Env      = pb.Env
	Variable = pb.Variable

	Rule          = pb.Rule
	SearchRequest = pb.SearchRequest
	Expression    = pb.Expression

	Step     = pb.Step
	Add      = pb.Add
	Cast     = pb.Cast
	Csv      = pb.Csv
	Delete   = pb.Delete
	Drop     = pb.Drop
	Dynamic  = pb.Dynamic
	Expand   = pb.Expand
	Grok     = pb.Grok
	Json     = pb.Json
	Kv       = pb.Kv
	Pattern  = pb.Pattern
	Reformat = pb.Reformat
	Rename   = pb.Rename
	Trim     = pb.Trim
	Xml      = pb.Xml

	// Analysis_AnalyzeServer is the stream that an analysis function sends its
	// alerts on.
	Analysis_AnalyzeServer = pb.Analysis_AnalyzeServer

	EngineClient = pb.EngineClient
	EngineServer = pb.EngineServer
)

// Topic names what a Message is about.
type Topic string

// The topics that the engine itself sends. The message of each is a
// DataProcessingMessage as JSON.
const (
	TopicEnqueueSuccess     Topic = "enqueue_success"
	TopicParsingDropped     Topic = "parsing_dropped"
	TopicAnalysisDropped    Topic = "analysis_dropped"
	TopicCorrelationDropped Topic = "correlation_dropped"
)

// DataProcessingMessage is the body of the engine's own messages.
type DataProcessingMessage struct {
	DataType   string `json:"dataType"`
	DataSource string `json:"dataSource"`
}
