package gateway

import (
	"context"
	"time"

	"mongodb-standin/internal/bsonx"
	"mongodb-standin/internal/mongoerr"
	"mongodb-standin/internal/pg"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// transactionLifetime is MongoDB's transactionLifetimeLimitSeconds until a client sets another by setParameter.
const transactionLifetime = 60

// beginTransaction opens a transaction whose snapshot is taken by the first statement. MongoDB does not wait for a
// document that another transaction holds, it reports a conflict at once; PostgreSQL waits these few milliseconds.
const beginTransaction = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = '10ms'"

type txnState int

const (
	inProgress txnState = iota
	committed
	aborted
)

// txn is a transaction of a session, kept after its end so that its outcome can be told again.
type txn struct {
	s      *Server
	number int64
	state  txnState
	conn   *pg.Conn
	wrote  bool
	expiry *time.Timer
}

// abort rolls back, unless the transaction has ended. The session's turn must be held.
func (t *txn) abort() {
	if t.state != inProgress {
		return
	}
	t.end(aborted)
}

func (t *txn) end(state txnState) {
	t.state = state
	t.expiry.Stop()
	t.s.cursors.closeOf(t)
	if t.conn.InTransaction() {
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		_ = t.conn.Exec(ctx, "ROLLBACK")
		stop()
	}
	t.s.pool.Put(t.conn)
	t.conn = nil
}

// runInTransaction runs a command that carries autocommit: false.
func (m *command) runInTransaction() (bsoncore.Document, error) {
	if !m.spec.inTxn {
		return nil, mongoerr.New(mongoerr.OperationNotSupportedTx,
			"Cannot run '%s' in a multi-document transaction.", m.name)
	}
	sess := m.session
	if err := sess.lock(m.ctx); err != nil {
		return nil, m.lost(err)
	}
	defer sess.unlock()
	switch m.name {
	case "commitTransaction":
		return m.commit()
	case "abortTransaction":
		return m.abort()
	}
	if err := m.enter(); err != nil {
		return nil, err
	}
	m.txn.wrote = m.txn.wrote || m.spec.write
	reply, err := m.spec.run(m)
	if err != nil || reply.Lookup("writeErrors").Type != 0 {
		// MongoDB gives up a transaction on any error.
		m.txn.abort()
	}
	return reply, err
}

// enter finds the transaction that the command belongs to, or opens it.
func (m *command) enter() error {
	sess := m.session
	if bsonx.Bool(m.full, "startTransaction") {
		return m.begin()
	}
	if sess.txn == nil || sess.txn.number != m.txnNumber {
		return m.noSuchTransaction()
	}
	switch sess.txn.state {
	case committed:
		return mongoerr.New(mongoerr.TransactionCommitted, "Transaction with { txnNumber: %d } has been committed.", m.txnNumber)
	case aborted:
		return m.noSuchTransaction()
	}
	m.txn = sess.txn
	return nil
}

func (m *command) noSuchTransaction() error {
	if t := m.session.txn; t != nil && t.number == m.txnNumber && t.state == aborted {
		return mongoerr.New(mongoerr.NoSuchTransaction, "Transaction with { txnNumber: %d } has been aborted.", m.txnNumber)
	}
	return mongoerr.New(mongoerr.NoSuchTransaction,
		"Given transaction number %d does not match any in-progress transactions.", m.txnNumber)
}

func (m *command) begin() error {
	sess := m.session
	if m.txnNumber < sess.number {
		return tooOld(m.txnNumber, sess.number)
	}
	if sess.txn != nil {
		if sess.txn.number == m.txnNumber {
			return mongoerr.New(50911, "Cannot start a transaction at given transaction number %d "+
				"a transaction with the same number has been started already", m.txnNumber)
		}
		sess.txn.abort()
	}
	conn, err := m.s.pool.Get(m.ctx)
	if err != nil {
		return m.lost(err)
	}
	if err := conn.Exec(m.ctx, beginTransaction); err != nil {
		m.s.pool.Put(conn)
		return m.lost(err)
	}
	t := &txn{s: m.s, number: m.txnNumber, conn: conn}
	t.expiry = time.AfterFunc(time.Duration(m.s.lifetime.Load())*time.Second, func() { sess.expire(t, conn) })
	sess.txn, sess.number, sess.reply = t, m.txnNumber, nil
	m.txn = t
	return nil
}

func tooOld(number, newer int64) error {
	return mongoerr.New(mongoerr.TransactionTooOld, "Cannot start transaction %d on session because a newer "+
		"transaction with txnNumber %d has already started on this session.", number, newer)
}

// expire rolls back a transaction that lived too long. A command that still runs in it is interrupted.
func (s *session) expire(t *txn, conn *pg.Conn) {
	select {
	case s.turn <- struct{}{}:
	default:
		conn.Cancel()
		s.turn <- struct{}{}
	}
	defer s.unlock()
	t.abort()
}

// abort answers abortTransaction.
func (m *command) abort() (bsoncore.Document, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	m.txn.abort()
	return empty(), nil
}

// commit answers commitTransaction, the first time and every time it is sent again.
func (m *command) commit() (bsoncore.Document, error) {
	t := m.session.txn
	if t == nil || t.number != m.txnNumber {
		return m.committedEarlier()
	}
	switch t.state {
	case committed:
		return empty(), nil
	case aborted:
		return nil, m.noSuchTransaction()
	}
	if err := t.commit(m.session); err != nil {
		if pg.IsLost(err) {
			// Nobody knows yet whether it is on disk: the next try asks PostgreSQL.
			m.session.txn = nil
		}
		return nil, m.lost(err)
	}
	return empty(), nil
}

// committedEarlier looks for the outcome of a transaction that this gateway has no memory of.
func (m *command) committedEarlier() (bsoncore.Document, error) {
	_, found, err := m.rememberedReply()
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, m.noSuchTransaction()
	}
	return empty(), nil
}

// commit makes the transaction's work durable, together with the fact that it was committed. It is not bound to the
// command's time limit, since a commit that was interrupted halfway helps nobody.
func (t *txn) commit(sess *session) error {
	ctx, stop := context.WithTimeout(t.s.ctx, time.Minute)
	defer stop()
	if t.wrote {
		if _, err := t.conn.Query(ctx, rememberCommit, []byte(sess.id), int8Bytes(t.number)); err != nil {
			t.end(aborted)
			return err
		}
	}
	if err := t.conn.Exec(ctx, "COMMIT"); err != nil {
		t.end(aborted)
		return err
	}
	t.end(committed)
	return nil
}

// notOutside answers commitTransaction and abortTransaction that come without autocommit: false.
func notOutside(m *command) (bsoncore.Document, error) {
	return nil, mongoerr.New(mongoerr.InvalidOptions, "%s must be run within a transaction", m.name)
}
