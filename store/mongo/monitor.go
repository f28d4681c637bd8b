package mongo

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
)

// slow is from when on a command is worth a line in the log.
const slow = time.Second

// monitor logs slow commands: their names, collections and times, and nothing
// of what was in them. That of the change stream waits, and is not slow.
func (c Config) monitor() *event.CommandMonitor {
	if c.Log == nil && c.started == nil {
		return nil
	}
	var under sync.Map // request → collection
	ended := func(e *event.CommandFinishedEvent) {
		collection, _ := under.LoadAndDelete(e.RequestID)
		if c.Log != nil && e.Duration >= slow && collection != changed {
			c.Log.Warn("a command of the database was slow", "command", e.CommandName, "collection", collection, "took", e.Duration)
		}
	}
	return &event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			if c.started != nil {
				c.started(e)
			}
			name, ok := e.Command.Lookup(e.CommandName).StringValueOK()
			if !ok { // a getMore begins with its cursor
				name, _ = e.Command.Lookup("collection").StringValueOK()
			}
			under.Store(e.RequestID, name)
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { ended(&e.CommandFinishedEvent) },
		Failed:    func(_ context.Context, e *event.CommandFailedEvent) { ended(&e.CommandFinishedEvent) },
	}
}
