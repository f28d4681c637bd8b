package mongo

import (
	"context"
	"sync"
)

// turns has this process's goroutines write one after the other where they
// would only undo each other: in transactions that begin by writing the same
// document. Nothing depends on it but the time that is lost by trying again,
// which remains between instances.
type turns struct {
	mu sync.Mutex
	of map[string]*turn
}

// turn is the right to begin such a transaction. It is dropped when nobody
// wants it.
type turn struct {
	taken chan struct{} // holds a value while somebody has it
	want  int
}

// take waits for the turn at a document, as long as a transaction is tried for
// at most: those before may all find that the server is away. give must be
// called.
func (t *turns) take(ctx context.Context, collection, id string) (give func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, enduring)
	defer cancel()
	name := collection + "/" + id
	one := t.wanted(name)
	select {
	case one.taken <- struct{}{}:
		return func() { <-one.taken; t.unwanted(name, one) }, nil
	case <-ctx.Done():
		t.unwanted(name, one)
		return nil, ctx.Err()
	}
}

func (t *turns) wanted(name string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]*turn{}
	}
	if t.of[name] == nil {
		t.of[name] = &turn{taken: make(chan struct{}, 1)}
	}
	t.of[name].want++
	return t.of[name]
}

func (t *turns) unwanted(name string, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.want--; one.want == 0 {
		delete(t.of, name)
	}
}
