package mongo

import (
	"context"
	"time"

	"firebreak/store"
)

// glance is how often a watcher is woken by itself.
const glance = time.Second

// Watch is store.Units. What this instance does wakes at once, and so does what
// others do where the server has change streams, see follow. The channel gets a
// value every second besides: a lease ends without a change, and not every
// server has them.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	ch := s.watch.Add(ctx)
	leave, err := s.enter(ctx)
	if err != nil {
		return ch // closed, or nobody listens
	}
	s.join()
	go func() {
		defer leave()
		defer s.part()
		s.glance(ctx, ch)
	}()
	return ch
}

// glance hints now and then until ctx or the store ends.
func (s *Store) glance(ctx context.Context, ch chan struct{}) {
	every := glance
	if s.cfg.glance > 0 {
		every = s.cfg.glance
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			store.Hint(ch)
		case <-ctx.Done():
			return
		case <-s.life.Done():
			return
		}
	}
}
