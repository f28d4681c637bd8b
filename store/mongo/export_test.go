package mongo

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
)

// Watching is the configuration of a store whose commands are seen by f.
func (c Config) Watching(f func(*event.CommandStartedEvent)) Config {
	c.started = f
	return c
}

// Skewed is the configuration of a store whose ticks come from a clock that is
// wrong by what f says, each time.
func (c Config) Skewed(f func() time.Duration) Config {
	c.skew = f
	return c
}

// Glancing is the configuration of a store whose watchers are woken by
// themselves that often.
func (c Config) Glancing(every time.Duration) Config {
	c.glance = every
	return c
}

// Silence ends what says that the instance is there, as if it had died.
func (s *Store) Silence() { s.endLife() }

// MaxDocument is the most that a version may have, whatever the configuration.
const MaxDocument = maxDocument

// Limited is the configuration of a store whose documents have so many bytes
// at most.
func (c Config) Limited(bytes int) Config {
	c.most = bytes
	return c
}
