package opshttp

import (
	"errors"
	"sync/atomic"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"
)

// How often it is looked whether a file that is being sent may still be: each
// second, and after each MiB unless that was just now. So that of a file which
// an erasure removes, no more leaves than a MiB or what goes out in a twentieth
// of a second, and what lies in the buffers of the connection; and looking
// costs the same however fast the client is.
const (
	lookAfter = time.Second
	lookBytes = 1 << 20
	lookApart = lookAfter / 20
	// blind is for how long sending goes on while the store does not answer.
	blind = 30 * time.Second
)

var errGone = errors.New("opshttp: the file was removed while it was sent")

// sent is a file that is being sent. Reading it ends with an error once it is
// gone, for whatever is still to be sent.
type sent struct {
	files.File
	name string
	find func() (job.Part, error) // as the part is now
	now  func() time.Time
	gone atomic.Bool

	looked, seen time.Time // the last look, and the last that found the part
	bytes        int       // since the last look
}

// Read is io.Reader.
func (s *sent) Read(b []byte) (int, error) {
	if s.due() {
		s.look()
	}
	if s.gone.Load() {
		return 0, errGone
	}
	n, err := s.File.Read(b)
	s.bytes += n
	return n, err
}

// due tells whether it is time to look again.
func (s *sent) due() bool {
	since := s.now().Sub(s.looked)
	return since >= lookAfter || since < 0 || s.bytes >= lookBytes && since >= lookApart
}

// look looks whether the part is still what is sent.
func (s *sent) look() {
	part, err := s.find()
	s.looked, s.bytes = s.now(), 0
	switch {
	case err == nil && part.Name == s.name:
		s.seen = s.looked
	case err == nil, errors.Is(err, store.ErrGone), errors.Is(err, store.ErrNotFound), s.looked.Sub(s.seen) > blind:
		s.gone.Store(true)
	}
}
