package gateway

import (
	"context"
	"encoding/binary"
	"time"

	"mongodb-standin/internal/mongoerr"
	"mongodb-standin/internal/pg"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// The table in which PostgreSQL remembers, in the transaction of the write itself, what a session's write answered
// and which transactions were committed. So a command that is sent again is not applied again, even after both
// PostgreSQL and the gateway were killed.
const (
	createReplies = `CREATE SCHEMA IF NOT EXISTS standin;
		CREATE TABLE IF NOT EXISTS standin.reply (
			session bytea NOT NULL,
			number bigint NOT NULL,
			reply documentdb_core.bson,
			written timestamptz NOT NULL DEFAULT now(),
			PRIMARY KEY (session, number))`
	rememberCommit = `INSERT INTO standin.reply (session, number) VALUES ($1::bytea, $2::bigint)`
	findReply      = `SELECT reply FROM standin.reply WHERE session = $1::bytea AND number = $2::bigint`
	latestReply    = `SELECT number, reply FROM standin.reply WHERE session = $1::bytea ORDER BY number DESC LIMIT 1`
	// dropReplies forgets what no driver asks for any more; a session's latest is kept as long as the session.
	dropReplies = `DELETE FROM standin.reply WHERE written < now() - interval '31 minutes'`
)

// remembering wraps a write so that its answer is kept, in one statement. The arguments of the write come first.
func remembering(write, session, number string) string {
	return `WITH w AS MATERIALIZED (` + write + `), r AS (
		INSERT INTO standin.reply (session, number, reply)
		SELECT ` + session + `::bytea, ` + number + `::bigint, p_result FROM w)
		SELECT p_result, p_success FROM w`
}

// runOnce runs a retryable write, or gives the answer it gave before under the same number.
func (m *command) runOnce() (bsoncore.Document, error) {
	sess := m.session
	if err := sess.lock(m.ctx); err != nil {
		return nil, m.lost(err)
	}
	defer sess.unlock()
	if err := m.recall(); err != nil {
		return nil, err
	}
	switch {
	case m.txnNumber < sess.number:
		return nil, tooOld(m.txnNumber, sess.number)
	case m.txnNumber == sess.number && sess.reply != nil:
		return append(bsoncore.Document(nil), sess.reply...), nil
	}
	if sess.txn != nil && sess.txn.number < m.txnNumber {
		sess.txn.abort()
	}
	reply, err := m.spec.run(m)
	if err != nil {
		if pg.IsLost(err) {
			sess.checked = false
		}
		return nil, err
	}
	sess.number = m.txnNumber
	sess.reply = append(bsoncore.Document(nil), reply...)
	return reply, nil
}

// recall fills a session's memory from PostgreSQL when it may hold more than the gateway knows.
func (m *command) recall() error {
	sess := m.session
	if sess.checked {
		return nil
	}
	rows, err := m.query(latestReply, []byte(sess.id))
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		if n := int64(binary.BigEndian.Uint64(rows[0][0])); n >= sess.number {
			sess.number, sess.reply = n, rows[0][1]
		}
	}
	sess.checked = true
	return nil
}

// rememberedReply asks PostgreSQL for the outcome of the command's transaction number.
func (m *command) rememberedReply() (bsoncore.Document, bool, error) {
	rows, err := m.query(findReply, []byte(m.session.id), int8Bytes(m.txnNumber))
	if err != nil || len(rows) == 0 {
		return nil, false, err
	}
	return rows[0][0], true, nil
}

func (s *Server) forgetReplies() {
	ctx, stop := context.WithTimeout(s.ctx, time.Minute)
	defer stop()
	c, err := s.pool.Get(ctx)
	if err != nil {
		return
	}
	defer s.pool.Put(c)
	if err := c.Exec(ctx, dropReplies); err != nil {
		s.log.Debug("forget replies", "error", err)
	}
}

// lost reports an error of PostgreSQL to the watcher before it becomes the client's.
func (m *command) lost(err error) error {
	switch context.Cause(m.ctx) {
	case errKilled:
		return mongoerr.New(mongoerr.Interrupted, "operation was interrupted")
	case context.DeadlineExceeded:
		return mongoerr.New(mongoerr.MaxTimeMSExpired, "operation exceeded time limit")
	}
	if pg.IsLost(err) && m.ctx.Err() == nil {
		m.s.engineLost(err)
	}
	return mongoerr.FromPostgres(err)
}

func int8Bytes(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
