package gateway

import (
	"context"
	"errors"
	"time"

	"mongodb-standin/internal/mongoerr"
	"mongodb-standin/internal/pg"

	"github.com/jackc/pgx/v5/pgconn"
)

// watchEngine keeps the topology's word on PostgreSQL true: it notices when it comes and, with engineLost, goes.
func (s *Server) watchEngine() {
	const pause = 50 * time.Millisecond
	for s.ctx.Err() == nil {
		v, changed := s.topology.view()
		if !v.down {
			select {
			case <-changed:
			case <-time.After(time.Second):
				s.probe()
			case <-s.ctx.Done():
			}
			continue
		}
		if err := s.prepareEngine(); err != nil {
			s.log.Debug("waiting for PostgreSQL", "error", err)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
			continue
		}
		s.log.Info("PostgreSQL is up")
		s.topology.change(func(t *topology) { t.down = false })
	}
}

// prepareEngine connects, ends what an earlier gateway left open, and makes the gateway's own table.
func (s *Server) prepareEngine() error {
	ctx, stop := context.WithTimeout(s.ctx, 30*time.Second)
	defer stop()
	c, err := s.pool.Get(ctx)
	if err != nil {
		return err
	}
	defer s.pool.Put(c)
	const endOthers = `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
		WHERE application_name = '` + application + `' AND pid <> pg_backend_pid()`
	if err := c.Exec(ctx, endOthers); err != nil {
		return err
	}
	return c.Exec(ctx, createReplies)
}

// probe notices a PostgreSQL that died while nobody asked it for anything.
func (s *Server) probe() {
	ctx, stop := context.WithTimeout(s.ctx, 5*time.Second)
	defer stop()
	c, err := s.pool.Get(ctx)
	if err == nil {
		err = c.Exec(ctx, "")
		s.pool.Put(c)
	}
	if err != nil && s.ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		s.engineLost(err)
	}
}

// engineLost is told of every error that may mean that PostgreSQL went away.
func (s *Server) engineLost(err error) {
	if v, _ := s.topology.view(); v.down || s.ctx.Err() != nil {
		return
	}
	s.pool.Drop()
	s.log.Warn("PostgreSQL is gone", "error", err)
	s.topology.change(func(t *topology) { t.down = true })
}

// query runs a statement where the command belongs: in its transaction, in its snapshot, or by itself.
func (m *command) query(sql string, args ...[]byte) ([][][]byte, error) {
	if c := m.ownConn(); c != nil {
		return m.queryOn(c, "", sql, args...)
	}
	for try := 0; ; try++ {
		rows, err := m.queryOnce(sql, args...)
		// MongoDB tries again by itself when writers outside of transactions get into each other's way.
		if !isConflict(err) || try == conflictTries {
			return rows, err
		}
		m.sleep(time.Duration(try+1) * time.Millisecond)
	}
}

const conflictTries = 100

func isConflict(err error) bool {
	var e *mongoerr.Error
	return errors.As(err, &e) && e.Code == mongoerr.WriteConflict
}

func (m *command) queryOnce(sql string, args ...[]byte) ([][][]byte, error) {
	c, err := m.s.pool.Get(m.ctx)
	if err != nil {
		return nil, m.lost(err)
	}
	defer m.s.pool.Put(c)
	return m.queryOn(c, "", sql, args...)
}

// ownConn is the connection of the command's transaction or snapshot, or nil.
func (m *command) ownConn() *pg.Conn {
	switch {
	case m.txn != nil:
		return m.txn.conn
	case m.snapshot != nil:
		return m.snapshot.conn
	}
	return nil
}

// queryOn runs a statement on a connection, and interrupts it when the command's time is up.
func (m *command) queryOn(c *pg.Conn, first, sql string, args ...[]byte) ([][][]byte, error) {
	cancelled := make(chan struct{})
	stop := context.AfterFunc(m.ctx, func() {
		defer close(cancelled)
		c.Cancel()
	})
	defer func() {
		if !stop() {
			<-cancelled // so that the interruption hits nobody else's statement
		}
	}()
	// The context stays out of the protocol's way: the interruption above ends the statement in an orderly manner.
	rows, err := c.QueryAfter(context.WithoutCancel(m.ctx), first, sql, args...)
	if err != nil {
		return nil, m.explainFailure(c, err)
	}
	return rows, nil
}

// explainFailure turns an error of PostgreSQL into MongoDB's.
func (m *command) explainFailure(c *pg.Conn, err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "57P01" {
		// One connection was ended by an administrator; PostgreSQL itself may be well.
		return mongoerr.New(mongoerr.ShutdownInProgress, "the connection to the storage engine was ended")
	}
	e := mongoerr.FromPostgres(m.lost(err))
	if e.Code == mongoerr.DuplicateKey {
		return m.duplicateKey(e, nil)
	}
	return e
}
