package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// The queues of the helpers. They are there from the start of the program, so
// that an EnqueueLog before SendLogsFromChannel has begun is kept, where the
// official SDK blocks on a nil channel and drops the log after a second.
var (
	logQueue     = make(chan *Log, runtime.NumCPU()*1000)
	messageQueue = make(chan *Message, runtime.NumCPU()*100)
)

// enqueueWait is how long EnqueueLog and EnqueueNotification wait for room.
const enqueueWait = time.Second

// exitFlush is how long a sender may take on SIGTERM to get rid of its queue.
const exitFlush = 1500 * time.Millisecond

// SendLogsFromChannel sends what EnqueueLog queued, for as long as the program
// runs; run it as a goroutine, once. It reconnects by itself and sends again
// what the node has not acked, where the official SDK's ends the process.
//
// On SIGINT and SIGTERM it sends what is queued, for up to 1.5 s, and then hands
// the signal on: a program without a handler of its own ends by it, as it would
// have, one with a handler sees it a second time.
func SendLogsFromChannel(pluginName string) {
	log := NewLogger(pluginName, nil)
	in, err := NewInput(SenderOptions{Name: pluginName, Logger: log})
	if err != nil {
		log.Error("cannot send logs", "error", err)
		return
	}
	drain(logQueue, func(ctx context.Context, l *Log) {
		if err := in.Send(ctx, l); err != nil {
			log.Error("log lost", "error", err)
		}
	}, in.Close)
}

// EnqueueLog queues a log for SendLogsFromChannel. When the queue is full (a
// thousand logs for each processor) it waits for a second and then returns an
// error; the log is then not queued, and it is for the caller to try again.
// Queued logs are lost when the process is killed: a plugin that must not lose
// any uses Input.
func EnqueueLog(log *Log, pluginName string) error {
	if err := enqueue(logQueue, log); err != nil {
		return fmt.Errorf("plugin %s: enqueue log: %w", pluginName, err)
	}
	return nil
}

// SendNotificationsFromChannel is SendLogsFromChannel for what
// EnqueueNotification queued.
func SendNotificationsFromChannel(pluginName string) {
	log := NewLogger(pluginName, nil)
	n, err := NewNotifier(SenderOptions{Name: pluginName, Logger: log})
	if err != nil {
		log.Error("cannot send messages", "error", err)
		return
	}
	drain(messageQueue, func(ctx context.Context, m *Message) {
		if err := n.Send(ctx, m); err != nil {
			log.Error("message lost", "error", err)
		}
	}, n.Close)
}

// EnqueueNotification queues a message of this topic with message as its JSON
// body, for SendNotificationsFromChannel. It waits and fails like EnqueueLog.
func EnqueueNotification[T any](topic Topic, message T, pluginName string) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("plugin %s: encode message: %w", pluginName, err)
	}
	m := &Message{Topic: string(topic), Message: string(body)}
	if err := prepareMessage(m); err != nil {
		return fmt.Errorf("plugin %s: enqueue message: %w", pluginName, err)
	}
	if err := enqueue(messageQueue, m); err != nil {
		return fmt.Errorf("plugin %s: enqueue message: %w", pluginName, err)
	}
	return nil
}

func enqueue[T any](queue chan *T, v *T) error {
	if v == nil {
		return errors.New("it is nil")
	}
	select {
	case queue <- v:
		return nil
	default:
	}
	timer := time.NewTimer(enqueueWait)
	defer timer.Stop()
	select {
	case queue <- v:
		return nil
	case <-timer.C:
		return fmt.Errorf("queue of %d is full: the node takes logs slower than they come", cap(queue))
	}
}

// drain hands what is queued to send until a signal, then what is left.
func drain[T any](queue chan *T, send func(context.Context, *T), end func(context.Context) error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	got := make(chan os.Signal, 1)
	go func() {
		sig := <-signals
		got <- sig
		time.AfterFunc(exitFlush, cancel)
	}()
	var sig os.Signal
	for sig == nil {
		select {
		case v := <-queue:
			send(ctx, v)
		case sig = <-got:
		}
	}
	for len(queue) > 0 && ctx.Err() == nil {
		send(ctx, <-queue)
	}
	_ = end(ctx)
	signal.Stop(signals)
	if s, ok := sig.(syscall.Signal); ok {
		_ = syscall.Kill(os.Getpid(), s)
	}
}
