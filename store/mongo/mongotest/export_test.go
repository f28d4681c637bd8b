package mongotest

import "testing"

// Source is where a test process takes engines from.
type Source struct {
	URI, Mongod, Control string
	Strict               bool
}

func (s Source) source() source {
	return source{uri: s.URI, mongod: s.Mongod, control: s.Control, strict: s.Strict}
}

// Environment is the source that this process was given.
func Environment() Source {
	s := environment()
	return Source{URI: s.uri, Mongod: s.mongod, Control: s.control, Strict: s.strict}
}

// Own is the Own of a process with this source.
func (s Source) Own(t testing.TB) *Engine {
	t.Helper()
	return own(t, s.source())
}

// Process is a test process with an engine of its own to share.
type Process struct{ p process }

// Start is the Start of that process.
func (p *Process) Start(t testing.TB, s Source) *Engine {
	t.Helper()
	return p.p.engine(t, s.source())
}

// Main is the Main of that process.
func (p *Process) Main(m interface{ Run() int }) interface{ Run() int } { return p.p.around(m) }
