package mongo_test

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"firebreak/store/mongo/mongotest"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
)

// streams answers what a store asks of change streams, in the place of an
// engine that has none: as MongoDB 7 does by its documentation. It does not run
// the pipeline; its events are what would be left of those that pass.
type streams struct {
	t     *testing.T
	wire  *wire
	heard chan string // names of the commands
	done  chan struct{}

	mu       sync.Mutex
	last     int64
	open     map[int64]*cursor
	opened   int
	refusals []bson.D // of the next to be opened
}

// cursor is a change stream that is open. What is taken from breaks is the
// answer to the getMore that waits; nil: the connection is cut.
type cursor struct {
	id     int64
	events chan bson.D
	breaks chan bson.D
	killed chan struct{}
}

// streamsTo stands between a store and an engine.
func streamsTo(t *testing.T, e *mongotest.Engine) *streams {
	t.Helper()
	w := wireTo(t, e)
	s := &streams{t: t, wire: w, heard: make(chan string, 1000), done: make(chan struct{}), open: map[int64]*cursor{}}
	w.answer(s.answer)
	t.Cleanup(func() { close(s.done) }) // before the wire's own, which waits
	return s
}

// ofStream tells whether a command is of a change stream of a database.
func ofStream(e *event.CommandStartedEvent) bool { return streamed(e.Command) }

func streamed(command bson.Raw) bool {
	elements, err := command.Elements()
	if err != nil || len(elements) == 0 {
		return false
	}
	var collection string
	switch elements[0].Key() {
	case "aggregate":
		_, err := command.LookupErr("pipeline", "0", "$changeStream")
		return err == nil
	case "getMore":
		collection, _ = command.Lookup("collection").StringValueOK()
	case "killCursors":
		collection, _ = elements[0].Value().StringValueOK()
	}
	return collection == "$cmd.aggregate"
}

func (s *streams) answer(client net.Conn, message []byte) bool {
	command := bson.Raw(message[document:])
	if !streamed(command) {
		return false
	}
	elements, _ := command.Elements()
	name := elements[0].Key()
	s.heard <- name
	var reply bson.D
	switch name {
	case "aggregate":
		reply = s.begin(command)
	case "getMore":
		reply = s.more(command)
	case "killCursors":
		reply = s.kill(command)
	}
	if reply == nil {
		_ = client.Close()
		return true
	}
	s.send(client, binary.LittleEndian.Uint32(message[4:]), reply)
	return true
}

// send answers a message. That nobody is there any more is no error.
func (s *streams) send(client net.Conn, to uint32, reply bson.D) {
	doc, err := bson.Marshal(reply)
	if err != nil {
		s.t.Error(err)
	}
	message := binary.LittleEndian.AppendUint32(nil, uint32(document+len(doc)))
	for _, n := range []uint32{1, to, 2013, 0} {
		message = binary.LittleEndian.AppendUint32(message, n)
	}
	_, _ = client.Write(append(append(message, 0), doc...))
}

// failure is the answer to a command that failed.
func failure(code int32, labels ...string) bson.D {
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "code", Value: code}, {Key: "errmsg", Value: "it fails"}, {Key: "errorLabels", Value: labels}}
}

func (s *streams) batch(command bson.Raw, id int64, name string, events ...bson.D) bson.D {
	db, _ := command.Lookup("$db").StringValueOK()
	return bson.D{
		{Key: "cursor", Value: bson.D{
			{Key: "id", Value: id},
			{Key: "ns", Value: db + ".$cmd.aggregate"},
			{Key: name, Value: append([]bson.D{}, events...)},
			{Key: "postBatchResumeToken", Value: token(0)},
		}},
		{Key: "ok", Value: 1.0},
	}
}

func token(n int) bson.D { return bson.D{{Key: "_data", Value: "8263" + string(rune('A'+n%26))}} }

func (s *streams) begin(command bson.Raw) bson.D {
	if level, _ := command.Lookup("readConcern", "level").StringValueOK(); level != "majority" {
		s.t.Errorf("a change stream with the read concern %q, which is refused", level)
	}
	if _, err := command.LookupErr("cursor"); err != nil {
		s.t.Error("an aggregate without a cursor")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refusals) > 0 {
		reply := s.refusals[0]
		s.refusals = s.refusals[1:]
		return reply
	}
	s.last++
	s.opened++
	s.open[s.last] = &cursor{id: s.last, events: make(chan bson.D, 100), breaks: make(chan bson.D, 1), killed: make(chan struct{})}
	return s.batch(command, s.last, "firstBatch")
}

// more waits for an event, as long as it is told to.
func (s *streams) more(command bson.Raw) bson.D {
	id, _ := command.Lookup("getMore").AsInt64OK()
	s.mu.Lock()
	c := s.open[id]
	s.mu.Unlock()
	if c == nil {
		return failure(43)
	}
	wait := time.Second
	if most, ok := command.Lookup("maxTimeMS").AsInt64OK(); ok {
		wait = time.Duration(most) * time.Millisecond
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case e := <-c.events:
		return s.batch(command, id, "nextBatch", e)
	case <-timer.C:
		return s.batch(command, id, "nextBatch")
	case <-c.killed:
		return failure(237)
	case reply := <-c.breaks:
		s.forget(id)
		return reply
	case <-s.done:
		return nil
	}
}

func (s *streams) forget(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.open[id]
	if c != nil {
		close(c.killed)
	}
	delete(s.open, id)
	return c != nil
}

func (s *streams) kill(command bson.Raw) bson.D {
	killed, missing := bson.A{}, bson.A{}
	values, _ := command.Lookup("cursors").Array().Values()
	for _, v := range values {
		if id := v.AsInt64(); s.forget(id) {
			killed = append(killed, id)
		} else {
			missing = append(missing, id)
		}
	}
	return bson.D{
		{Key: "cursorsKilled", Value: killed},
		{Key: "cursorsNotFound", Value: missing},
		{Key: "cursorsAlive", Value: bson.A{}},
		{Key: "cursorsUnknown", Value: bson.A{}},
		{Key: "ok", Value: 1.0},
	}
}

// refuse has the next that are to be opened be answered so.
func (s *streams) refuse(times int, reply bson.D) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range times {
		s.refusals = append(s.refusals, reply)
	}
}

// now is the stream that is open, of which there must be one.
func (s *streams) now() *cursor {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) != 1 {
		s.t.Fatalf("%d change streams are open", len(s.open))
	}
	for _, c := range s.open {
		return c
	}
	return nil
}

// tell has an event come.
func (s *streams) tell() { s.now().events <- bson.D{{Key: "_id", Value: token(1)}} }

// counts are how many streams are open, and how many ever were.
func (s *streams) counts() (open, opened int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open), s.opened
}

// hears waits for the next command of a name.
func (s *streams) hears(name string) {
	s.t.Helper()
	for late := time.After(slack); ; {
		select {
		case got := <-s.heard:
			if got == name {
				return
			}
		case <-late:
			s.t.Fatalf("no %s came", name)
		}
	}
}
