package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// Service runs until ctx ends, then returns what is nil or ctx's error; any
// other error brings the node down.
type Service interface {
	Serve(ctx context.Context) error
	String() string
}

func named(name string, serve func(context.Context) error) Service { return service{name, serve} }

type service struct {
	name  string
	serve func(context.Context) error
}

func (s service) Serve(ctx context.Context) error { return s.serve(ctx) }
func (s service) String() string                  { return s.name }

// layer is what is started together. The next layer is started once ready's
// channel is closed (nil: at once), and stopped before this one.
type layer struct {
	services []Service
	ready    func() <-chan struct{}
}

// runLayers starts the layers in order. When ctx ends or a service breaks, it
// stops them from the last to the first, each wholly before the one below it,
// and returns what broke.
func runLayers(ctx context.Context, log hclog.Logger, layers ...layer) error {
	broke, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var stops []func()
	defer func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}()
	for _, l := range layers {
		// The layers above still need this one when ctx ends.
		layerCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var running sync.WaitGroup
		for _, s := range l.services {
			running.Go(func() {
				err := s.Serve(layerCtx)
				switch {
				case layerCtx.Err() != nil:
					if err != nil && !errors.Is(err, context.Canceled) {
						log.Warn("did not stop cleanly", "part", s.String(), "error", err)
					}
				case err != nil:
					fail(fmt.Errorf("%s: %w", s.String(), err))
				}
			})
		}
		stops = append(stops, func() { cancel(); running.Wait() })
		if l.ready != nil {
			select {
			case <-l.ready():
			case <-broke.Done():
			}
		}
		if broke.Err() != nil {
			break
		}
	}
	<-broke.Done()
	return context.Cause(broke)
}
