package sqlite

import "context"

// Watch is store.Units.
func (s *Store) Watch(ctx context.Context) <-chan struct{} { return s.watch.Add(ctx) }
