package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/epmesh/epmesh/bridge"
	"github.com/epmesh/epmesh/node/plugin"
	"github.com/epmesh/epmesh/node/wire"
	pb "github.com/epmesh/epmesh/proto"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
)

// Analysis hands events to an analysis plugin and stores the alerts it answers.
func Analysis(client *plugin.Client) bridge.Handler {
	return func(ctx context.Context, item bridge.Item) ([]bridge.Item, error) {
		var answers [][]byte
		err := await(ctx, client, func() (err error) {
			answers, err = client.Analyze(ctx, item.Body, options(item))
			return err
		})
		if err != nil || len(answers) == 0 {
			return nil, verdict(item, err)
		}
		alerts := make([]bridge.Item, 0, len(answers))
		namesakes := make(map[string]int, len(answers))
		for _, body := range answers {
			alert, err := alertItem(client.Name(), item, body, namesakes)
			if err != nil {
				return nil, err
			}
			alerts = append(alerts, alert)
		}
		return alerts, nil
	}
}

// alertItem completes an alert by what the plugin left out and the event knows,
// and leaves every byte that the plugin sent as it is. namesakes counts the alerts
// of the event's answer by name: the item is known by its name and its number among
// those of it, so that an event that comes again and is answered with one alert
// more does not have others taken for what they are not.
func alertItem(name string, event bridge.Item, body []byte, namesakes map[string]int) (bridge.Item, error) {
	f, err := wire.ScanAlert(body)
	if err != nil {
		return bridge.Item{}, bridge.Permanent(fmt.Errorf("analysis plugin %q answered an alert that cannot be read: %w", name, err))
	}
	e, err := wire.ScanEvent(event.Body)
	if err != nil {
		return bridge.Item{}, bridge.Permanent(fmt.Errorf("read event: %w", err))
	}
	id := event.ID.Derive(name+"\x00"+string(f.Name), namesakes[string(f.Name)])
	namesakes[string(f.Name)]++
	var add []wire.Text
	missing := func(have []byte, field wire.Text) {
		if len(have) == 0 && field.Value != "" {
			add = append(add, field)
		}
	}
	missing(f.ID, wire.Text{Number: wire.AlertID, Value: uuid.UUID(id).String()})
	missing(f.TenantID, wire.Text{Number: wire.AlertTenantID, Value: string(e.TenantID)})
	missing(f.TenantName, wire.Text{Number: wire.AlertTenantName, Value: string(e.TenantName)})
	missing(f.DataType, wire.Text{Number: wire.AlertDataType, Value: string(e.DataType)})
	missing(f.DataSource, wire.Text{Number: wire.AlertDataSource, Value: string(e.DataSource)})
	missing(f.Timestamp, wire.Text{Number: wire.AlertTimestamp, Value: time.Now().UTC().Format(time.RFC3339Nano)})
	pick := func(own, fallback []byte) string {
		if len(own) > 0 {
			return string(own)
		}
		return string(fallback)
	}
	return bridge.Item{
		ID: id, Subject: bridge.AlertSubject(pick(f.TenantID, e.TenantID), pick(f.DataType, e.DataType)),
		Received: event.Received, Body: wire.AppendTexts(body, add...),
	}, nil
}

// Correlation hands alerts to a correlation plugin.
func Correlation(client *plugin.Client) bridge.Handler {
	return func(ctx context.Context, item bridge.Item) ([]bridge.Item, error) {
		return nil, verdict(item, await(ctx, client, func() error { return client.Correlate(ctx, item.Body, options(item)) }))
	}
}

// EventOutput hands events to an output plugin. One that answers that it does
// not serve events wants none.
func EventOutput(client *plugin.Client) bridge.Handler {
	return output(client, client.EventOutput)
}

// AlertOutput hands alerts to an output plugin, likewise.
func AlertOutput(client *plugin.Client) bridge.Handler {
	return output(client, client.AlertOutput)
}

func output(client *plugin.Client, call func(context.Context, []byte, plugin.CallOptions) error) bridge.Handler {
	return func(ctx context.Context, item bridge.Item) ([]bridge.Item, error) {
		err := await(ctx, client, func() error { return call(ctx, item.Body, options(item)) })
		if plugin.Unimplemented(err) {
			return nil, bridge.ErrDropped
		}
		return nil, verdict(item, err)
	}
}

// Notification hands messages to a notification plugin. A tally is handed over
// as the messages that it stands for.
func Notification(client *plugin.Client) bridge.Handler {
	return func(ctx context.Context, item bridge.Item) ([]bridge.Item, error) {
		notify := func(message []byte) error {
			return verdict(item, await(ctx, client, func() error { return client.Notify(ctx, message, options(item)) }))
		}
		if !bridge.IsEngine(item.Subject) {
			return nil, notify(item.Body)
		}
		var t pb.Tally
		if err := proto.Unmarshal(item.Body, &t); err != nil {
			return nil, bridge.Permanent(fmt.Errorf("read tally: %w", err))
		}
		text, err := json.Marshal(struct {
			DataType   string `json:"dataType"`
			DataSource string `json:"dataSource"`
		}{t.GetDataType(), t.GetDataSource()})
		if err != nil {
			return nil, bridge.Permanent(fmt.Errorf("write message: %w", err))
		}
		for i := range t.GetCount() {
			m, err := proto.Marshal(&pb.Message{
				Id: uuid.UUID(item.ID.Derive("message", int(i))).String(), Timestamp: t.GetTimestamp(), Topic: t.GetTopic(), Message: string(text),
			})
			if err != nil {
				return nil, bridge.Permanent(fmt.Errorf("write message: %w", err))
			}
			if err := notify(m); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
}
