// Program otelsender sends numbered log records with the SDK of OpenTelemetry, as
// a service would that is instrumented with it.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdk "go.opentelemetry.io/otel/sdk/log"
)

func main() {
	if err := send(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(endpoint, count string) error {
	ctx := context.Background()
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	exporter, err := otlploghttp.New(ctx,
		otlploghttp.WithEndpointURL(endpoint), otlploghttp.WithCompression(otlploghttp.GzipCompression),
		otlploghttp.WithHeaders(map[string]string{"Authorization": "Bearer " + os.Getenv("TOKEN")}),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: 100 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Minute}))
	if err != nil {
		return err
	}
	provider := sdk.NewLoggerProvider(sdk.WithProcessor(sdk.NewBatchProcessor(exporter, sdk.WithExportMaxBatchSize(100), sdk.WithMaxQueueSize(n+1))))
	logger := provider.Logger("otelsender")
	for i := range n {
		var r log.Record
		r.SetTimestamp(time.Now())
		r.SetSeverity(log.SeverityInfo)
		r.SetBody(attribute.StringValue(fmt.Sprintf("record %d", i)))
		r.AddAttributes(attribute.Int("n", i), attribute.StringSlice("list", []string{"x", "y"}))
		logger.Emit(ctx, r)
	}
	return provider.Shutdown(ctx)
}
