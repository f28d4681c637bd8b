package gateway

import (
	"bufio"
	"context"
	"net"
	"time"

	"mongodb-standin/internal/wire"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// client is one connection of a driver. Commands on it run one after the other.
type client struct {
	s       *Server
	conn    net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	id      int32
	appName string
	ctx     context.Context
	stop    context.CancelFunc
	// watched is closed when the watch for a hang-up ended; nil where none was begun.
	watched chan struct{}
}

const bufferSize = 64 << 10

func newClient(s *Server, conn net.Conn) *client {
	ctx, stop := context.WithCancel(s.ctx)
	return &client{
		s: s, conn: conn, id: s.lastID.Add(1), ctx: ctx, stop: stop,
		in: bufio.NewReaderSize(conn, bufferSize), out: bufio.NewWriterSize(conn, bufferSize),
	}
}

func (c *client) serve() {
	defer c.s.forget(c)
	defer c.stop()
	defer c.conn.Close()
	for c.ctx.Err() == nil {
		if c.watched != nil {
			<-c.watched // it has the reader until the next byte arrives
			c.watched = nil
		}
		req, err := wire.Read(c.in)
		if err != nil {
			return
		}
		if !c.handle(req) {
			return
		}
	}
}

// watchAfter is how long a command may run before anyone looks whether the client is still there.
const watchAfter = 100 * time.Millisecond

// watch begins to look for a hang-up while a command runs on, and interrupts a read then. Drivers hang up on a command
// whose time is up.
func (c *client) watch() {
	done := make(chan struct{})
	c.watched = done
	go func() {
		defer close(done)
		if _, err := c.in.Peek(1); err != nil {
			c.stop()
		}
	}()
}

// watching runs f and watches the client if that takes long.
func (c *client) watching(f func()) {
	if c.watched != nil {
		f()
		return
	}
	begun := make(chan struct{})
	t := time.AfterFunc(watchAfter, func() {
		defer close(begun)
		c.watch()
	})
	f()
	if !t.Stop() {
		<-begun
	}
}

// handle answers one request and says whether the connection stays open.
func (c *client) handle(req *wire.Request) bool {
	cmd := newCommand(c, req)
	for to := req.ID; ; {
		var body bsoncore.Document
		var open bool
		c.watching(func() { body, open = cmd.run() })
		if !open {
			return false
		}
		if req.NoReply {
			return true
		}
		id := c.s.lastID.Add(1)
		stream := cmd.streams()
		err := wire.Write(c.out, wire.Reply{ID: id, To: to, Legacy: req.Legacy, MoreToCome: stream, Body: body})
		if err == nil {
			err = c.out.Flush()
		}
		if err != nil {
			return false
		}
		if !stream {
			return true
		}
		// Each further answer of a stream refers to the one before it.
		to = id
	}
}
