package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"mongodb-standin/internal/bsonx"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// sessionLifetime is how long a session without commands is kept.
const sessionLifetime = sessionMinutes * time.Minute

// session is a client's logical session. It outlives connections.
type session struct {
	id string
	// turn is held by the command that uses what follows: those with a transaction number run one at a time.
	turn chan struct{}
	txn  *txn
	// number is that of the latest transaction or retryable write, reply the answer to that write.
	number int64
	reply  bsoncore.Document
	// checked is true once the replies that PostgreSQL remembers have been looked at, after a restart.
	checked bool

	mu   sync.Mutex
	used time.Time
	// running are the commands under way, by which killSessions interrupts them.
	running map[*command]context.CancelCauseFunc
}

// errKilled is the cause by which a command of a killed session ends.
var errKilled = errors.New("the session was killed")

// admit notes a command of the session and makes it one that can be interrupted. The function it returns ends that.
func (s *session) admit(m *command) func() {
	ctx, stop := context.WithCancelCause(m.ctx)
	m.ctx = ctx
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[m] = stop
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running, m)
		stop(nil)
	}
}

func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stop := range s.running {
		stop(errKilled)
	}
}

// lock takes the session's turn.
func (s *session) lock(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) unlock() { <-s.turn }

func (s *session) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
}

func (s *session) idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.used)
}

// sessions are all sessions by the id in lsid.
type sessions struct {
	s    *Server
	mu   sync.Mutex
	byID map[string]*session
}

func newSessions(s *Server) *sessions { return &sessions{s: s, byID: map[string]*session{}} }

func (ss *sessions) get(id string) *session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	sess, ok := ss.byID[id]
	if !ok {
		sess = &session{id: id, turn: make(chan struct{}, 1), number: -1, running: map[*command]context.CancelCauseFunc{}}
		ss.byID[id] = sess
	}
	sess.touch()
	return sess
}

// end forgets a session and rolls its transaction back.
func (ss *sessions) end(id string) {
	ss.mu.Lock()
	sess := ss.byID[id]
	delete(ss.byID, id)
	ss.mu.Unlock()
	if sess == nil {
		return
	}
	sess.turn <- struct{}{}
	defer sess.unlock()
	if sess.txn != nil {
		sess.txn.abort()
	}
}

// kill interrupts what runs in a session, rolls its transaction back and closes its cursors. The session itself stays.
// A commit that has begun is let through.
func (ss *sessions) kill(id string) {
	ss.mu.Lock()
	sess := ss.byID[id]
	ss.mu.Unlock()
	if sess == nil {
		return
	}
	const again = 10 * time.Millisecond // for a command that began meanwhile
	for {
		sess.interrupt()
		select {
		case sess.turn <- struct{}{}:
			defer sess.unlock()
			if sess.txn != nil {
				sess.txn.abort()
			}
			ss.s.cursors.closeWhere(func(c *cursor) bool { return c.session == sess })
			return
		case <-time.After(again):
		}
	}
}

func (ss *sessions) ids(which func(*session) bool) []string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var ids []string
	for id, sess := range ss.byID {
		if which(sess) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (ss *sessions) sweep() {
	for _, id := range ss.ids(func(s *session) bool { return s.idle() > sessionLifetime }) {
		ss.end(id)
	}
}

func (ss *sessions) closeAll() {
	for _, id := range ss.ids(func(*session) bool { return true }) {
		ss.end(id)
	}
}

// abortTransactions rolls back every open transaction, as a primary does when it steps down.
func (ss *sessions) abortTransactions() {
	ss.mu.Lock()
	all := make([]*session, 0, len(ss.byID))
	for _, sess := range ss.byID {
		all = append(all, sess)
	}
	ss.mu.Unlock()
	for _, sess := range all {
		sess.turn <- struct{}{}
		if sess.txn != nil {
			sess.txn.abort()
		}
		sess.unlock()
	}
}

// endSessions forgets sessions, when what runs in them has ended.
func endSessions(m *command) (bsoncore.Document, error) {
	m.eachSession(m.s.sessions.end)
	return empty(), nil
}

// killSessions ends at once what runs in sessions.
func killSessions(m *command) (bsoncore.Document, error) {
	m.eachSession(m.s.sessions.kill)
	return empty(), nil
}

// eachSession calls f for the sessions that the command names.
func (m *command) eachSession(f func(id string)) {
	for _, v := range bsonx.Values(m.full, m.name) {
		lsid, _ := v.DocumentOK()
		if _, id, ok := lsid.Lookup("id").BinaryOK(); ok {
			f(string(id))
		}
	}
}

// killAllSessions ends at once what runs in any session.
func killAllSessions(m *command) (bsoncore.Document, error) {
	for _, id := range m.s.sessions.ids(func(*session) bool { return true }) {
		m.s.sessions.kill(id)
	}
	return empty(), nil
}

// startSession answers with a new session's id.
func startSession(m *command) (bsoncore.Document, error) {
	id := randomBytes(16)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	m.s.sessions.get(string(id))
	return bsonx.Doc(func(d []byte) []byte {
		i, d := bsoncore.AppendDocumentElementStart(d, "id")
		d = bsoncore.AppendBinaryElement(d, "id", 4, id)
		d, _ = bsoncore.AppendDocumentEnd(d, i)
		return bsoncore.AppendInt32Element(d, "timeoutMinutes", sessionMinutes)
	}), nil
}

func empty() bsoncore.Document { return bsonx.Doc(func(d []byte) []byte { return d }) }
