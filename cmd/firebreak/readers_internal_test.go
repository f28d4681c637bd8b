package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// slowReader asks for a file and reads its first bytes, and then no more: the
// connection is full until the test ends.
func slowReader(t *testing.T, g *guarded, file, token string) error {
	t.Helper()
	c, err := net.Dial("tcp", g.srv.listener.Addr().String())
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = c.Close() })
	if tcp, ok := c.(*net.TCPConn); ok {
		if err := tcp.SetReadBuffer(4096); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", file, token); err != nil {
		return err
	}
	b := make([]byte, 15)
	if _, err := c.Read(b); err != nil {
		return err
	}
	if !strings.HasPrefix(string(b), "HTTP/1.1 200") {
		return fmt.Errorf("the answer begins with %q", b)
	}
	return nil
}

func TestAHundredReadersThatStandStillKeepNobodyFromWorking(t *testing.T) {
	g := newGuarded(t)
	g.engine()
	mine := g.token("c", everything)
	for i := range 12 { // more than the buffers of a connection take
		g.put("/fhir", "Patient", fmt.Sprint("p", i), strings.Repeat("x", 900_000), mine)
	}
	_, m := g.exported("/fhir/$export", mine)
	file := strings.TrimPrefix(m.Output[0].URL, g.origin)
	for i := range 100 {
		if err := slowReader(t, g, file, mine); err != nil {
			t.Fatalf("reader %d: %v", i, err)
		}
	}
	g.put("/fhir", "Patient", "late", "written beside them", mine)
	if _, m := g.exported("/fhir/$export", mine); len(m.Output) != 1 || *m.Output[0].Count != 13 {
		t.Errorf("the export beside them has %+v", m.Output)
	}
}
