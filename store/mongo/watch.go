package mongo

import (
	"context"
	"time"

	"firebreak/store"
)

// glance is how often a watcher is woken by itself.
const glance = time.Second

// Watch is store.Units. What this instance does wakes at once; for what others
// do the channel gets a value every second. Change streams would tell of that
// sooner, at the price of a cursor that is open all the time, on a stream of
// all that happens to units; an engine looks for work each second anyway.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	ch := s.watch.Add(ctx)
	leave, err := s.enter(ctx)
	if err != nil {
		return ch // closed, or nobody listens
	}
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
			store.Hint(ch)
		case <-ctx.Done():
			return
		case <-s.life.Done():
			return
		}
	}
}
