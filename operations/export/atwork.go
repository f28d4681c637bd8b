package export

import (
	"context"
	"fmt"
	"sync"

	"firebreak/store"
)

// errLost is why an attempt is broken off whose unit is another's.
var errLost = fmt.Errorf("export: %w", store.ErrFenced)

// atWork are the attempts that this process is at.
type atWork struct {
	mu  sync.Mutex
	all map[store.Fence]working
}

// working is one attempt.
type working struct {
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

// enter notes an attempt until leave. The context ends when it is broken off.
func (w *atWork) enter(ctx context.Context, f store.Fence) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	one := working{cancel, make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[store.Fence]working{}
	}
	w.all[f] = one
	return ctx, func() {
		cancel(nil)
		close(one.ended)
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, f)
	}
}

// of are the attempts at exports of a tenant.
func (w *atWork) of(t store.Tenant) []working {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []working
	for f, one := range w.all {
		if f.Tenant == t {
			out = append(out, one)
		}
	}
	return out
}
