package mongo_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"firebreak/store/mongo/mongotest"
)

// wire stands between a store and an engine, and can lose answers: the command
// was done, and nobody hears of it. It can also answer in the engine's place.
type wire struct {
	engine string
	listen net.Listener
	all    sync.WaitGroup

	mu      sync.Mutex
	ends    map[net.Conn]bool
	names   []string // whose answers are lost
	times   int      // how many more
	lost    map[uint32]bool
	instead func(client net.Conn, message []byte) bool // true: the engine is not to hear of it
}

// wireTo begins to listen. The store is to be opened at its URI.
func wireTo(t *testing.T, e *mongotest.Engine) *wire {
	t.Helper()
	u, err := url.Parse(e.URI())
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{engine: u.Host, ends: map[net.Conn]bool{}, lost: map[uint32]bool{}}
	var lc net.ListenConfig
	if w.listen, err = lc.Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	w.all.Go(w.serve)
	t.Cleanup(w.close)
	return w
}

func (w *wire) uri(database string) string {
	return "mongodb://" + w.listen.Addr().String() + "/" + database + "?directConnection=true"
}

// lose has the next answers to commands of these names be lost.
func (w *wire) lose(times int, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.times, w.names = times, names
}

// left is how many answers were to be lost, and were not.
func (w *wire) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.times
}

// answer has f see each command before the engine does.
func (w *wire) answer(f func(client net.Conn, message []byte) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.instead = f
}

func (w *wire) close() {
	_ = w.listen.Close()
	w.mu.Lock()
	for c := range w.ends {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.all.Wait()
}

func (w *wire) serve() {
	for {
		client, err := w.listen.Accept()
		if err != nil {
			return
		}
		var d net.Dialer
		server, err := d.DialContext(context.Background(), "tcp", w.engine)
		if err != nil {
			_ = client.Close()
			continue
		}
		w.mu.Lock()
		w.ends[client], w.ends[server] = true, true
		w.mu.Unlock()
		w.all.Go(func() { w.carry(client, server, func(m []byte) ([]byte, bool) { return w.asked(client, m) }) })
		w.all.Go(func() { w.carry(server, client, w.answered) })
	}
}

// carry passes messages on until one is lost, and then hangs up.
func (w *wire) carry(from, to net.Conn, pass func(message []byte) (on []byte, ok bool)) {
	defer func() {
		_, _ = from.Close(), to.Close()
		w.mu.Lock()
		delete(w.ends, from)
		w.mu.Unlock()
	}()
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		message := append(head, make([]byte, binary.LittleEndian.Uint32(head)-4)...)
		if _, err := io.ReadFull(from, message[4:]); err != nil {
			return
		}
		on, ok := pass(message)
		if !ok {
			return
		}
		if _, err := to.Write(on); err != nil {
			return
		}
	}
}

// document is where a message has its command. A message is a head of 16 bytes,
// 4 of flags, and a section: its kind, and the document whose first member is
// the command.
const document = 16 + 4 + 1

// asked notes the commands whose answers are to be lost.
func (w *wire) asked(client net.Conn, message []byte) (on []byte, ok bool) {
	if binary.LittleEndian.Uint32(message[12:]) != 2013 || len(message) < document+5 {
		return message, true
	}
	name, _, _ := bytes.Cut(message[document+4+1:], []byte{0})
	w.mu.Lock()
	if w.times > 0 && slices.Contains(w.names, string(name)) {
		w.times--
		w.lost[binary.LittleEndian.Uint32(message[4:])] = true
	}
	instead := w.instead
	w.mu.Unlock()
	if instead != nil && instead(client, message) {
		return nil, true
	}
	return message, true
}

func (w *wire) answered(message []byte) (on []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return message, !w.lost[binary.LittleEndian.Uint32(message[8:])]
}

// database is the name in a URI.
func database(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	_, name, _ := strings.Cut(rest, "/")
	name, _, _ = strings.Cut(name, "?")
	return name
}
