package purge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/tidwall/gjson"
)

// void removes the files of exports that hold the record, and what other jobs
// have noted of it.
func (a attempt) void(ctx context.Context, g *gathering) error {
	parts, err := a.cfg.Store.Void(ctx, a.fence, g.holders)
	if err != nil {
		return err
	}
	if err := a.tellGone(ctx, parts, g.found.whole); err != nil {
		return err
	}
	if err := a.forget(ctx, parts); err != nil {
		return err
	}
	return a.cfg.Store.Strike(ctx, a.fence, store.Gone{IDs: g.found.whole, Patients: []string{g.patient}})
}

// forget removes the bytes of void parts.
func (a attempt) forget(ctx context.Context, parts []job.Part) error {
	if len(parts) == 0 {
		return nil
	}
	*a.voided = a.cfg.Now()
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.Name
	}
	if err := a.cfg.Files.Remove(ctx, names...); err != nil {
		return err
	}
	return a.cfg.Store.Forget(ctx, a.fence.Tenant, parts)
}

// voidFiles removes the files of exports that hold a version which was erased,
// and are known by others: of an Observation of a mother, say, that named an
// Encounter of her child. No record says where those are, so files with
// resources of their types are read. There are seldom any.
func (a attempt) voidFiles(ctx context.Context) error {
	var names []string
	err := a.units(ctx, a.job, func(_ job.Unit, what did) error {
		names = union(names, what.Unsaid)
		return nil
	})
	if err != nil {
		return err
	}
	return a.voidWith(ctx, names)
}

// voidUnsaid is voidFiles for one patient, before the first erasure: should the
// job be stopped, nobody finds these files again.
func (a attempt) voidUnsaid(ctx context.Context, g *gathering) error {
	_, unsaid := g.found.far()
	return a.voidWith(ctx, unsaid)
}

// voidWith voids the files that hold one of the resources, and tells their
// owners what goes.
func (a attempt) voidWith(ctx context.Context, names []string, goes ...fhir.ID) (err error) {
	if len(names) == 0 {
		return nil
	}
	noted := map[string]map[string]bool{}
	for _, name := range names {
		typ, id, _ := strings.Cut(name, "/")
		if noted[typ] == nil {
			noted[typ] = map[string]bool{}
		}
		noted[typ][id] = true
	}
	var held []job.Part
	err = a.cfg.Parts(ctx, a.fence.Tenant, func(p job.Part) error {
		holds, err := a.holds(ctx, p, noted)
		if holds {
			held = append(held, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	for page := range slices.Chunk(held, partPage) {
		parts, err := a.cfg.Store.Void(ctx, a.fence, nil, page...)
		if err == nil {
			err = a.tellGone(ctx, parts, goes)
		}
		if err == nil {
			err = a.forget(ctx, parts)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// partPage is how many files are voided in one commit.
const partPage = 200

// holds tells whether a file has one of the resources. One that is not there
// any more has nothing.
func (a attempt) holds(ctx context.Context, p job.Part, noted map[string]map[string]bool) (bool, error) {
	ids := noted[p.Type]
	if len(ids) == 0 || p.Category != job.Output {
		return false, nil
	}
	f, err := a.cfg.Files.Open(ctx, p.Name)
	if errors.Is(err, files.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewReaderSize(f, 1<<20)
	for {
		id, err := nextID(lines)
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		case ids[id]:
			return true, nil
		}
	}
}

// nextID reads a line, and gives the id of the resource in it.
func nextID(r *bufio.Reader) (id string, err error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = nil
		}
		return gjson.GetBytes(line, "id").String(), err
	}
	whole := bytes.Clone(line) // one that is longer than the buffer
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.ReadSlice('\n')
		whole = append(whole, line...)
	}
	return gjson.GetBytes(whole, "id").String(), err
}

// cutOff is how long a download may go on of a file that was voided: it looks
// once a second whether it was.
const cutOff = 1200 * time.Millisecond

// downloadsEnd returns when no download of a file that the job voided goes on.
func (a attempt) downloadsEnd(ctx context.Context) error {
	last := *a.voided
	err := a.units(ctx, a.job, func(_ job.Unit, what did) error {
		if what.Voided.After(last) {
			last = what.Voided
		}
		return nil
	})
	if err != nil {
		return err
	}
	rest := time.NewTimer(last.Add(cutOff).Sub(a.cfg.Now()))
	defer rest.Stop()
	select {
	case <-rest.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
