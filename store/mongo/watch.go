package mongo

import (
	"context"
	"sync"
	"time"
)

// glance is how often a watcher is woken by itself.
const glance = time.Second

// watchers are the channels that Watch gave out.
type watchers struct {
	mu  sync.Mutex
	chs map[chan struct{}]bool
}

// wake hints to all watchers, unless the change that it tells of failed.
func (w *watchers) wake(err error) {
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.chs {
		hint(ch)
	}
}

// hint does not wait: one that is not taken yet is enough.
func hint(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Watch is store.Units. What this instance does wakes at once; for what others
// do the channel gets a value every second. Change streams would tell of that
// sooner, at the price of a cursor that is open all the time, on a stream of
// all that happens to units; an engine looks for work each second anyway.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	leave, err := s.enter(ctx)
	if err != nil {
		return ch // closed, or nobody listens
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	if s.watch.chs == nil {
		s.watch.chs = map[chan struct{}]bool{}
	}
	s.watch.chs[ch] = true
	go func() {
		defer leave()
		s.glance(ctx, ch)
	}()
	return ch
}

// glance hints now and then until ctx or the store ends.
func (s *Store) glance(ctx context.Context, ch chan struct{}) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			hint(ch)
			continue
		case <-ctx.Done():
		case <-s.life.Done():
		}
		s.watch.mu.Lock()
		delete(s.watch.chs, ch)
		s.watch.mu.Unlock()
		return
	}
}
