package store

import (
	"context"
	"sync"
)

// Watchers are the channels that a store's Watch gave out. The zero value has
// none.
type Watchers struct {
	mu  sync.Mutex
	chs map[chan struct{}]bool
}

// Add gives a channel that gets the hints of Wake until ctx ends.
func (w *Watchers) Add(ctx context.Context) chan struct{} {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chs == nil {
		w.chs = map[chan struct{}]bool{}
	}
	w.chs[ch] = true
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.chs, ch)
	})
	return ch
}

// Wake hints to all watchers, unless the change that it tells of failed. It
// does not wait: a hint that is not taken yet is enough.
func (w *Watchers) Wake(err error) {
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.chs {
		Hint(ch)
	}
}

// Hint gives a channel of Add a value, unless one is waiting already.
func Hint(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
