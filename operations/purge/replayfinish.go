package purge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/files"

	"github.com/tidwall/gjson"
)

// finish removes what files of exports and other jobs have of what was erased,
// looks whether any is left, and scrubs.
func (r replaying) finish(ctx context.Context) (job.UnitEnd, error) {
	for _, step := range []func(context.Context) error{r.voidAll, r.sweep, r.look, r.downloadsEnd} {
		if err := step(ctx); err != nil {
			return job.UnitEnd{}, err
		}
	}
	traces, err := r.cfg.Store.Scrub(ctx)
	if err == nil {
		err = r.recordEnd(ctx)
	}
	if err != nil {
		return job.UnitEnd{}, err
	}
	doc, err := json.Marshal(did{Unknown: traces.Unknown, Until: traces.Until})
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// goneFinds calls f with what the job erased and nobody has written since.
func (r replaying) goneFinds(ctx context.Context, f func(g store.Gone) error) error {
	return r.finds(ctx, func(ids []fhir.ID) error {
		there, err := r.cfg.Store.Get(ctx, r.fence.Tenant, ids...)
		if err != nil {
			return err
		}
		g := store.Gone{Job: r.job.ID}
		for i, id := range ids {
			if there[i].N > 0 {
				continue
			}
			g.IDs = append(g.IDs, id)
			if id.Type == "Patient" {
				g.Patients = append(g.Patients, id.ID)
			}
		}
		return f(g)
	})
}

// voidAll voids the files that hold any of it, by what their records say and by
// what is in them, and strikes it from what other jobs have noted.
func (r replaying) voidAll(ctx context.Context) error {
	err := r.goneFinds(ctx, func(g store.Gone) error {
		var holders []string
		for _, id := range g.IDs {
			holders = append(holders, holder(id))
		}
		if err := r.voids(ctx, holders); err != nil {
			return err
		}
		return r.cfg.Store.Strike(ctx, r.fence, g)
	})
	if err != nil {
		return err
	}
	var held []job.Part
	err = r.cfg.Parts(ctx, r.fence.Tenant, func(p job.Part) error {
		holds, err := r.inFile(ctx, p)
		if holds {
			held = append(held, p)
		}
		return err
	})
	for page := range slices.Chunk(held, partPage) {
		if err == nil {
			err = r.voids(ctx, nil, page...)
		}
	}
	return err
}

// voids voids and removes files.
func (r replaying) voids(ctx context.Context, holders []string, these ...job.Part) error {
	parts, err := r.cfg.Store.Void(ctx, r.fence, holders, these...)
	if err != nil {
		return err
	}
	return r.forget(ctx, parts)
}

// inFile tells whether a file has a version that the ledger has an entry for.
// One that is not there any more has nothing.
func (r replaying) inFile(ctx context.Context, p job.Part) (bool, error) {
	if p.Category != job.Output {
		return false, nil
	}
	f, err := r.cfg.Files.Open(ctx, p.Name)
	if errors.Is(err, files.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return false, err
		case r.inLine(p.Type, line):
			return true, nil
		case err != nil:
			return false, nil
		}
	}
}

// inLine tells whether a resource is one that the ledger has an entry for, and
// not from later.
func (r replaying) inLine(typ string, line []byte) bool {
	k := r.known(fhir.ID{Type: typ, ID: gjson.GetBytes(line, "id").String()})
	if k == (Known{}) {
		return false
	}
	from, err := time.Parse(time.RFC3339Nano, gjson.GetBytes(line, "meta.lastUpdated").String())
	return err != nil || store.TickOf(from) <= max(k.Erased, k.Detached)
}

// look sees that nothing is left to do in anything that there is, and that no
// index has anything of what was erased.
func (r replaying) look(ctx context.Context) error {
	ranges, err := r.cfg.Store.Split(ctx, r.fence.Tenant, r.all(), replayBytes)
	if err != nil {
		return err
	}
	for _, one := range ranges {
		if err := r.lookIn(ctx, one); err != nil {
			return err
		}
	}
	return r.goneFinds(ctx, func(g store.Gone) error {
		found, err := r.cfg.Store.Residue(ctx, r.fence.Tenant, g)
		if err != nil {
			return err
		}
		for _, one := range found {
			// What names the erased and has no entry was left by the purge too.
			if one.Kind != store.OfReference && one.Kind != store.OfCompartment {
				return errLeft
			}
		}
		return nil
	})
}

func (r replaying) lookIn(ctx context.Context, in store.Range) error {
	ids, err := r.back(ctx, in)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(ids, targetPage) {
		g, err := r.again(ctx, page)
		if err != nil {
			return err
		}
		if !g.found.none() {
			return errLeft
		}
	}
	return nil
}
