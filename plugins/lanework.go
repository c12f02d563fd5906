package plugins

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// How many workers there are finds itself. New calls wake one worker; whoever
// takes a call while others wait wakes one more, unless one was woken that has
// not run yet. A function that returns at once leaves that one no time to run:
// few workers do all, and no call costs the start of a goroutine. One that waits
// for something lets the woken one run, which wakes the next: within
// microseconds as many calls are under way as there are.

// push queues calls for the workers. It waits while too many are queued.
func (l *lane) push(calls []*laneCall) {
	if len(calls) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue)-l.head >= maxLaneQueue && !l.over {
		l.space.Wait()
	}
	for _, c := range calls {
		c.index = len(l.calls)
		l.calls = append(l.calls, c)
	}
	l.queue = append(l.queue, calls...)
	l.wake()
}

// wake has one more worker look for calls. l.mu is held.
func (l *lane) wake() {
	switch {
	case l.waking || l.head == len(l.queue):
	case l.idle > 0:
		l.waking = true
		l.idle--
		l.rest.Signal()
	case l.workers < maxLaneWorkers:
		l.waking = true
		l.workers++
		go l.work()
	}
}

func (l *lane) work() {
	var c *laneCall // the one whose function runs
	defer func() {
		if c == nil {
			return
		}
		// The function ended this goroutine, with runtime.Goexit.
		c.close()
		l.mu.Lock()
		l.answer(c, codes.Internal, "the function ended its goroutine", nil, 0)
		l.workers--
		l.wake()
		l.mu.Unlock()
	}()
	var scratch []byte
	l.mu.Lock()
	l.waking = false
	for {
		for l.head == len(l.queue) {
			if l.over || l.idle >= keptLaneWorkers {
				l.workers--
				l.mu.Unlock()
				return
			}
			l.idle++
			l.rest.Wait()
			l.waking = false
		}
		c = l.take()
		l.wake()
		l.mu.Unlock()

		c.messages = scratch
		err := l.call(c)
		messages, excess := c.close()
		if excess != 0 {
			err = nil // whatever the function made of it
		}
		if err != nil || excess != 0 {
			messages = messages[:0]
		}
		code, text, messages := laneStatus(err, messages)

		l.mu.Lock()
		l.answer(c, code, text, messages, excess)
		c = nil
		if scratch = messages[:0]; cap(scratch) > 64<<10 {
			scratch = nil
		}
	}
}

// take takes the next call off the queue. l.mu is held.
func (l *lane) take() *laneCall {
	c := l.queue[l.head]
	l.queue[l.head] = nil
	if l.head++; l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
	}
	if len(l.queue)-l.head == maxLaneQueue-1 {
		l.space.Signal()
	}
	return c
}

// call calls the function for c. A panic is the call's error.
func (l *lane) call(c *laneCall) (err error) {
	defer recoverCall(l.log, &err)
	if c.method == nil {
		c.frame.free()
		return status.Error(codes.Unimplemented, "this plugin does not serve the method")
	}
	m := c.method.request()
	err = proto.Unmarshal(c.body, m)
	c.body = nil
	c.frame.free()
	if err != nil {
		return status.Errorf(codes.Internal, "read the item: %v", err)
	}
	if err := c.Err(); err != nil {
		// Given up before it began.
		return err
	}
	return c.method.call(c, m)
}
