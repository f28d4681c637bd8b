package sqlite

import (
	"context"
	"sync"
)

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
		select {
		case ch <- struct{}{}:
		default: // a hint is waiting already
		}
	}
}

// Watch is store.Units.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	s.watch.mu.Lock()
	if s.watch.chs == nil {
		s.watch.chs = map[chan struct{}]bool{}
	}
	s.watch.chs[ch] = true
	s.watch.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.watch.mu.Lock()
		defer s.watch.mu.Unlock()
		delete(s.watch.chs, ch)
	})
	return ch
}
