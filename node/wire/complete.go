package wire

import (
	"time"

	pb "github.com/epmesh/epmesh/proto"
)

// What a log gets that names no data type or source.
const (
	DefaultDataType   = "generic"
	DefaultDataSource = "unknown"
)

// LogDefaults are what a log gets where it says nothing itself.
type LogDefaults struct {
	ID     string // looked at only where the log has none
	Tenant string
	Now    time.Time
}

// Missing appends the fields that a log lacks; what it says stays as it is.
func (f LogFields) Missing(to []Text, d LogDefaults) []Text {
	return d.missing(to, len(f.ID), len(f.DataType), len(f.DataSource), len(f.Timestamp), len(f.TenantID))
}

// Complete gives a log what it lacks, as Missing says for one in wire form.
func (d LogDefaults) Complete(log *pb.Log) {
	var texts [5]Text
	for _, t := range d.missing(texts[:0], len(log.Id), len(log.DataType), len(log.DataSource), len(log.Timestamp), len(log.TenantId)) {
		switch t.Number {
		case LogID:
			log.Id = t.Value
		case LogDataType:
			log.DataType = t.Value
		case LogDataSource:
			log.DataSource = t.Value
		case LogTimestamp:
			log.Timestamp = t.Value
		case LogTenantID:
			log.TenantId = t.Value
		}
	}
}

// missing goes by the lengths of a log's fields.
func (d LogDefaults) missing(to []Text, id, dataType, dataSource, timestamp, tenant int) []Text {
	if id == 0 {
		to = append(to, Text{LogID, d.ID})
	}
	if dataType == 0 {
		to = append(to, Text{LogDataType, DefaultDataType})
	}
	if dataSource == 0 {
		to = append(to, Text{LogDataSource, DefaultDataSource})
	}
	if timestamp == 0 {
		to = append(to, Text{LogTimestamp, Timestamp(d.Now)})
	}
	if tenant == 0 {
		to = append(to, Text{LogTenantID, d.Tenant})
	}
	return to
}

// Timestamp is a time as messages carry it.
func Timestamp(now time.Time) string { return now.UTC().Format(time.RFC3339Nano) }
