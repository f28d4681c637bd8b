package gateway

import (
	"context"
	"slices"
	"time"

	"mongodb-standin/internal/bsonx"
	"mongodb-standin/internal/mongoerr"
	"mongodb-standin/internal/wire"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// command is one command on its way through the server.
type command struct {
	s    *Server
	c    *client
	ctx  context.Context
	req  *wire.Request
	full bsoncore.Document // as the client sent it
	body bsoncore.Document // without the fields that the gateway itself handles
	name string            // first key of the body
	spec *spec
	db   string

	session   *session
	txnNumber int64
	hasNumber bool // a transaction number came along
	inTxn     bool // autocommit: false
	txn       *txn
	snapshot  *snapshot
}

// handler runs a command and returns its answer without ok, unless PostgreSQL gave it one.
type handler func(*command) (bsoncore.Document, error)

// spec is what the server knows of a kind of command.
type spec struct {
	run handler
	// write is true for commands that only a primary takes.
	write bool
	// retryable is true for writes that a driver may send twice under one number.
	retryable bool
	// inTxn is true for commands allowed in transactions.
	inTxn bool
	// anytime is true for commands that need neither a primary nor PostgreSQL.
	anytime bool
}

// ownFields are handled by the gateway, or mean nothing to a single server, and are kept from the extension.
var ownFields = []string{
	"lsid", "txnNumber", "autocommit", "startTransaction", "readConcern", "writeConcern", "maxTimeMS", "comment",
	"$db", "$clusterTime", "$readPreference", "$configTime", "$topologyTime", "$audit", "$client",
	"apiVersion", "apiStrict", "apiDeprecationErrors", "stmtId", "stmtIds", "mayBypassWriteBlocking",
}

func newCommand(c *client, req *wire.Request) *command {
	doc := req.Body
	if req.Legacy {
		// Old drivers wrap a command that carries a read preference.
		if q := bsonx.Sub(doc, "$query"); q != nil {
			doc = q
		}
	}
	name := bsonx.FirstKey(doc)
	m := &command{s: c.s, c: c, ctx: c.ctx, req: req, full: doc, name: name, spec: commands[name]}
	if m.outlivesClient() {
		m.ctx = c.s.ctx
	}
	return m
}

// outlivesClient says whether the command runs on when the client hangs up. MongoDB ends reads then, and no write.
func (m *command) outlivesClient() bool {
	return m.spec != nil && m.spec.write || m.name == "aggregate" && writesOut(m.full)
}

// run executes the command. It returns the answer, or false where the connection is to be closed instead.
func (m *command) run() (bsoncore.Document, bool) {
	reply, f, err := m.runFaulty()
	if err != nil {
		e := mongoerr.FromPostgres(err)
		if e.CloseConnection || m.c.ctx.Err() != nil {
			return nil, false
		}
		m.label(e, f)
		m.s.log.Debug("command failed", "command", m.name, "error", e)
		return m.finish(e.Document(), nil), true
	}
	return m.finish(reply, f), true
}

// runFaulty executes the command, unless the fail point does something else to it.
func (m *command) runFaulty() (bsoncore.Document, *fault, error) {
	if m.spec == nil {
		return nil, nil, mongoerr.New(mongoerr.CommandNotFound, "no such command: '%s'", m.name)
	}
	if err := m.readOwnFields(); err != nil {
		return nil, nil, err
	}
	f := m.s.faults.match(m)
	if f != nil && f.block > 0 {
		m.sleep(f.block)
	}
	if f != nil && f.err != nil {
		return nil, f, f.err
	}
	reply, err := m.execute()
	return reply, f, err
}

// streams says whether the answer just given is to be followed by another.
func (m *command) streams() bool {
	return m.req.ExhaustAllowed && m.spec != nil && isHello(m.name) &&
		m.full.Lookup("topologyVersion").Type == bsoncore.TypeEmbeddedDocument
}

func (m *command) execute() (bsoncore.Document, error) {
	m.body = bsonx.Filter(m.full, func(k string) bool { return !slices.Contains(ownFields, k) })
	if m.spec.anytime {
		return m.spec.run(m)
	}
	if err := m.s.topology.admit(m.spec.write || writesOut(m.body)); err != nil {
		return nil, err
	}
	m.fixNow(time.Now())
	if m.session != nil {
		defer m.session.admit(m)()
	}
	release, err := m.limitTime()
	if err != nil {
		return nil, err
	}
	defer release()
	switch {
	case m.inTxn:
		return m.runInTransaction()
	case m.isRetryable():
		return m.runOnce()
	case m.readsSnapshot():
		return m.runInSnapshot()
	}
	return m.spec.run(m)
}

func (m *command) readOwnFields() error {
	m.db = bsonx.Str(m.full, "$db")
	if m.req.Legacy {
		m.db = "admin"
	}
	if m.db == "" {
		return mongoerr.New(40571, "OP_MSG requests require a $db argument")
	}
	if t, ok := timestamp(m.full.Lookup("$clusterTime", "clusterTime")); ok {
		m.s.clock.witness(t)
	}
	if t, ok := timestamp(m.full.Lookup("readConcern", "afterClusterTime")); ok {
		m.s.clock.witness(t)
	}
	if _, id, ok := m.full.Lookup("lsid", "id").BinaryOK(); ok {
		m.session = m.s.sessions.get(string(id))
	}
	m.txnNumber, m.hasNumber = bsonx.Int(m.full, "txnNumber")
	if auto, ok := m.full.Lookup("autocommit").BooleanOK(); ok {
		m.inTxn = !auto
	}
	switch level := bsonx.Str(m.full, "readConcern", "level"); level {
	case "", "local", "available", "majority", "linearizable", "snapshot":
	default:
		return mongoerr.New(mongoerr.BadValue, "Enumeration value '%s' for field 'readConcern.level' is not a valid value.", level)
	}
	if (m.hasNumber || m.inTxn) && m.session == nil {
		return mongoerr.New(mongoerr.InvalidOptions, "Transaction number requires a session ID to also be specified")
	}
	if m.inTxn && !m.hasNumber {
		return mongoerr.New(mongoerr.InvalidOptions, "'autocommit' field requires a transaction number")
	}
	return nil
}

// limitTime puts the client's maxTimeMS on the command's context. A getMore carries the time to wait for news on
// tailable cursors there, which do not exist here, and drivers send it only then.
func (m *command) limitTime() (context.CancelFunc, error) {
	v := m.full.Lookup("maxTimeMS")
	if v.Type == 0 {
		return func() {}, nil
	}
	ms, ok := bsonx.Int(m.full, "maxTimeMS")
	if !ok || ms < 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "maxTimeMS must be a non-negative number")
	}
	if ms == 0 {
		return func() {}, nil
	}
	ctx, stop := context.WithTimeout(m.ctx, time.Duration(ms)*time.Millisecond)
	m.ctx = ctx
	return stop, nil
}

// sleep waits, unless the command is interrupted.
func (m *command) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ctx.Done():
	}
}

// label adds the labels that MongoDB puts on an error in the command's situation.
func (m *command) label(e *mongoerr.Error, f *fault) {
	if f != nil && f.labelled {
		return
	}
	ending := m.name == "commitTransaction" || m.name == "abortTransaction"
	switch {
	case m.inTxn && ending && mongoerr.IsRetryable(e.Code):
		e.Label(mongoerr.RetryableWrite)
	case m.inTxn && m.name == "commitTransaction" && e.Code == mongoerr.NoSuchTransaction:
		e.Label(mongoerr.TransientTransaction)
	case m.inTxn && !ending && isTransient(e.Code):
		e.Label(mongoerr.TransientTransaction)
	case m.isRetryable() && mongoerr.IsRetryable(e.Code):
		e.Label(mongoerr.RetryableWrite)
	}
}

// isRetryable says whether the client may send the command again under its number.
func (m *command) isRetryable() bool {
	return m.hasNumber && !m.inTxn && m.spec != nil && m.spec.retryable
}

func isTransient(code int32) bool {
	switch code {
	case mongoerr.WriteConflict, mongoerr.NoSuchTransaction, mongoerr.SnapshotUnavailable, 24, 267:
		return true
	}
	return mongoerr.IsRetryable(code)
}

// finish completes an answer: ok, a write concern's error and the cluster time.
func (m *command) finish(reply bsoncore.Document, f *fault) bsoncore.Document {
	return bsonx.Append(reply, func(dst []byte) []byte {
		if reply.Lookup("ok").Type == 0 {
			dst = bsoncore.AppendDoubleElement(dst, "ok", 1)
		}
		dst = m.appendConcernError(dst, reply, f)
		if m.req.Legacy {
			return dst
		}
		if code, ok := stateCode(reply, f); ok && mongoerr.TellsState(code) {
			// By the version a driver sees whether the error tells it anything new about the server.
			v, _ := m.s.topology.view()
			dst = m.s.appendTopologyVersion(dst, v)
		}
		t := m.s.clock.now()
		if m.spec != nil && m.spec.write {
			t = m.s.clock.tick()
		}
		return appendClusterTime(dst, t)
	})
}

// stateCode is the code of an answer's error, or of its write concern's.
func stateCode(reply bsoncore.Document, f *fault) (int32, bool) {
	code, ok := bsonx.Int(reply, "code")
	if !ok && f != nil && f.concernError != nil {
		code, ok = bsonx.Int(f.concernError, "code")
	}
	return int32(code), ok
}

// appendConcernError reports the write concern's error of a fail point, or a wish for more members than there are.
func (m *command) appendConcernError(dst []byte, reply bsoncore.Document, f *fault) []byte {
	if f != nil && f.concernError != nil {
		dst = bsoncore.AppendDocumentElement(dst, "writeConcernError", f.concernError)
		labels := f.labels
		code, _ := bsonx.Int(f.concernError, "code")
		if !f.labelled && m.isRetryable() && mongoerr.IsRetryable(int32(code)) {
			labels = []string{mongoerr.RetryableWrite}
		}
		return mongoerr.AppendLabels(dst, labels)
	}
	w, isNumber := bsonx.Int(m.full, "writeConcern", "w")
	if !isNumber || w < 2 || m.spec == nil || !m.spec.write || reply.Lookup("ok").Type == 0 {
		return dst
	}
	return bsoncore.AppendDocumentElement(dst, "writeConcernError", bsonx.Doc(func(d []byte) []byte {
		d = bsoncore.AppendInt32Element(d, "code", 100)
		d = bsoncore.AppendStringElement(d, "codeName", "UnsatisfiableWriteConcern")
		return bsoncore.AppendStringElement(d, "errmsg", "Not enough data-bearing nodes")
	}))
}

// collection is the command's first value, where that is a collection's name.
func (m *command) collection() string { return bsonx.Str(m.body, m.name) }

// namespace is the database and collection that the command is about.
func (m *command) namespace() string { return m.db + "." + m.collection() }
