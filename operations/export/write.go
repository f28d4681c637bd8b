package export

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"
)

// buffer is how many bytes of a file are held back to write more at once.
const buffer = 256 << 10

// partWriter writes one file, and counts and hashes what it writes.
type partWriter struct {
	part     job.Part
	file     files.Writer
	buffered *bufio.Writer
	sum      hash.Hash
	holders  holders
}

// part begins file number i of this attempt.
func (a attempt) part(ctx context.Context, c job.Category, typ string, i int) (*partWriter, error) {
	p := job.Part{
		ID: fmt.Sprintf("%s.%06d", a.unit.ID, i), Job: a.job.ID, Unit: a.unit.ID, Category: c, Type: typ,
		Name: fmt.Sprintf("%s/%s.%d.%06d.%s.ndjson", folder(a.job.Tenant, a.job.ID), a.unit.ID, a.unit.Attempt, i, typ),
	}
	f, err := a.cfg.Files.Create(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	*a.made = append(*a.made, p.Name)
	w := &partWriter{part: p, file: f, sum: sha256.New(), holders: holders{}}
	w.buffered = bufio.NewWriterSize(io.MultiWriter(f, w.sum), buffer)
	return w, nil
}

// line writes one line; it must end in a newline. Whom it holds, the caller
// notes.
func (w *partWriter) line(b []byte) error {
	w.part.Count++
	w.part.Size += int64(len(b))
	_, err := w.buffered.Write(b)
	return err
}

// end makes the file durable and returns its record.
func (w *partWriter) end() (job.Part, error) {
	if err := w.buffered.Flush(); err != nil {
		return job.Part{}, err
	}
	if err := w.file.Commit(); err != nil {
		return job.Part{}, err
	}
	w.part.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	w.part.Patients = slices.Sorted(maps.Keys(w.holders))
	return w.part, nil
}

// writeNotes writes what must be said of the export as a file of its errors.
func (a attempt) writeNotes(ctx context.Context, notes []fhir.Issue) (job.Part, error) {
	w, err := a.part(ctx, job.Errors, "OperationOutcome", 1)
	if err != nil {
		return job.Part{}, err
	}
	defer w.file.Abort()
	for _, n := range notes {
		line := append(fhir.Outcome(n), '\n')
		w.holders.named(line)
		if err := w.line(line); err != nil {
			return job.Part{}, err
		}
	}
	p, err := w.end()
	p.N = 1
	return p, err
}

// work does a unit of the scanning phase.
func (a attempt) work(ctx context.Context) (job.UnitEnd, error) {
	var what args
	if err := json.Unmarshal(a.unit.Args, &what); err != nil {
		return job.UnitEnd{}, fmt.Errorf("export: read a unit: %w", err)
	}
	switch {
	case what.Gone:
		return a.writeDeleted(ctx)
	case what.Look:
		return a.look(ctx, what.Work)
	}
	return a.write(ctx, what)
}

// look finds the Provenance of what the ranges hold.
func (a attempt) look(ctx context.Context, ranges []work) (job.UnitEnd, error) {
	f, err := a.finder(ctx, true)
	if err != nil {
		return job.UnitEnd{}, err
	}
	looks := a.looks()
	for _, w := range ranges {
		err := a.cfg.Store.Scan(ctx, a.fence.Tenant, looks[w.Selection], w.Range, "", func(v *store.Version) error {
			return f.version(ctx, v)
		})
		if err != nil {
			return job.UnitEnd{}, err
		}
	}
	return job.UnitEnd{State: job.Succeeded}, f.flush(ctx)
}

// write writes what the unit's ranges hold, and looks for what comes along.
func (a attempt) write(ctx context.Context, what args) (job.UnitEnd, error) {
	s := writing{attempt: a, end: job.UnitEnd{State: job.Succeeded}, only: what.Only}
	defer s.abort()
	f, err := a.finder(ctx, false)
	if err != nil {
		return job.UnitEnd{}, err
	}
	for _, w := range what.Work {
		if s.open != nil && s.open.part.Type != w.Type {
			if err := s.cut(); err != nil {
				return job.UnitEnd{}, err
			}
		}
		err := a.cfg.Store.Scan(ctx, a.fence.Tenant, a.selections[w.Selection], w.Range, "", func(v *store.Version) error {
			if err := f.version(ctx, v); err != nil {
				return err
			}
			return s.version(ctx, v)
		})
		if err != nil {
			return job.UnitEnd{}, err
		}
	}
	if err := f.flush(ctx); err != nil {
		return job.UnitEnd{}, err
	}
	if err := s.cut(); err != nil {
		return job.UnitEnd{}, err
	}
	return s.end, nil
}

// writing is the files of one unit.
type writing struct {
	attempt
	open  *partWriter
	begun int
	ofTyp int // files of the present type
	only  bool
	line  []byte
	end   job.UnitEnd
}

func (s *writing) version(ctx context.Context, v *store.Version) error {
	s.line = append(fhir.AppendShown(s.line[:0], v.Body, v.MetaAt, v.N, int64(v.From)), '\n')
	if s.open != nil && s.open.part.Size+int64(len(s.line)) > s.cfg.MaxFile {
		if err := s.cut(); err != nil {
			return err
		}
	}
	if s.open == nil {
		s.begun++
		var err error
		if s.open, err = s.part(ctx, job.Output, v.ID.Type, s.begun); err != nil {
			return err
		}
	}
	s.open.holders.version(v)
	return s.open.line(s.line)
}

// cut ends the open file, if there is one.
func (s *writing) cut() error {
	if s.open == nil {
		return nil
	}
	p, err := s.open.end()
	if err != nil {
		return err
	}
	s.open = nil
	if n := len(s.end.Parts); n == 0 || s.end.Parts[n-1].Type != p.Type {
		s.ofTyp = 0
	}
	if s.ofTyp++; s.only {
		p.N = s.ofTyp
	}
	s.end.Parts = append(s.end.Parts, p)
	s.end.Counts.Resources += p.Count
	s.end.Counts.Bytes += p.Size
	return nil
}

func (s *writing) abort() {
	if s.open != nil {
		s.open.file.Abort()
	}
}
