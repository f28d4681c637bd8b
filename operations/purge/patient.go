package purge

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"firebreak/operations/job"
	"firebreak/store"
)

// patient purges the record of one patient. It may be cut off anywhere, and
// done again: what is left is found again. What is found by way of what goes
// first, such as files that hold nothing but a Binary, goes before it.
func (a attempt) patient(ctx context.Context) (job.UnitEnd, error) {
	patient, err := patientOf(a.unit)
	if err != nil {
		return job.UnitEnd{}, err
	}
	g, err := a.gather(ctx, patient)
	if err != nil {
		return job.UnitEnd{}, err
	}
	if err := a.begins(ctx, g.onAccountOf(g.found.all())); err != nil {
		return job.UnitEnd{}, err
	}
	g.found.order()
	what, err := a.remember(g)
	if err != nil {
		return job.UnitEnd{}, err
	}
	total := a.unit.Erased.Add(job.Erased{Versions: int64(g.found.erasing), Resources: int64(len(g.found.whole))})
	if err := a.note(ctx, total, what); err != nil {
		return job.UnitEnd{}, err
	}
	g.holders = append([]string{patient}, what.Far...)
	if err := a.cfg.Store.Announce(ctx, a.fence, g.holders); err != nil {
		return job.UnitEnd{}, err
	}
	for _, step := range []func(context.Context, *gathering) error{a.list, a.void, a.voidUnsaid, a.detach, a.erase, a.void} {
		if err := step(ctx, g); err != nil {
			return job.UnitEnd{}, err
		}
	}
	if what.Since, err = a.look(ctx, g); err != nil {
		return job.UnitEnd{}, err
	}
	what.erased(g)
	// Of what is of several records another unit may have erased some.
	if done := a.unit.Erased.Add(g.erased); done != total {
		total = done
		if err := a.note(ctx, total, what); err != nil {
			return job.UnitEnd{}, err
		}
	}
	if !a.voided.IsZero() {
		what.Voided = *a.voided
	}
	doc, err := json.Marshal(what)
	return job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: total.Resources}, Result: doc}, err
}

func (a attempt) note(ctx context.Context, total job.Erased, what did) error {
	doc, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return a.cfg.Store.Note(ctx, a.fence, total, doc)
}

// How many of the detached resources a result names: those with free text, and
// all of them, so that each is counted once.
const (
	maxNamed    = 100
	maxDetached = 1000
)

// remember is what is going to be detached and what is kept, with what an
// earlier attempt noted.
func (a attempt) remember(g *gathering) (did, error) {
	what, err := didOf(a.unit)
	if err != nil {
		return what, err
	}
	what.Kept = g.found.kept
	what.going(a.unit.Erased, &g.found)
	far, unsaid := g.found.far()
	what.Far, what.Unsaid, what.Groups = union(what.Far, far), union(what.Unsaid, unsaid), union(what.Groups, g.groups)
	what.detaches(g.found.shared)
	return what, nil
}

// detaches names what of resources is going to be detached.
func (d *did) detaches(shared []resource) {
	for _, r := range shared {
		id := r.id.String()
		if r.detach == 0 || slices.Contains(d.Detached, id) || len(d.Detached) >= maxDetached {
			continue
		}
		d.Detached = append(d.Detached, id)
		if r.text && len(d.Named) < maxNamed {
			d.Named = append(d.Named, id)
		}
	}
}

// union has each name once.
func union(a, b []string) []string {
	a = append(slices.Clone(a), b...)
	slices.Sort(a)
	return slices.Compact(a)
}

func didOf(u job.Unit) (what did, err error) {
	if len(u.Result) == 0 {
		return what, nil
	}
	if json.Unmarshal(u.Result, &what) != nil {
		err = errors.New("purge: what a unit did cannot be read")
	}
	return what, err
}

// list notes what is going to be erased, for the last unit, which looks for all
// that the job erased, however often its units began anew.
func (a attempt) list(ctx context.Context, g *gathering) error {
	for page := range slices.Chunk(g.found.ours, historyPage) {
		if err := a.cfg.Store.AddFinds(ctx, a.fence, page); err != nil {
			return err
		}
	}
	return nil
}

// erasePage is how many versions are erased in one commit: more take longer,
// and other writers wait for that.
const erasePage = 250

// erase removes the versions, in order. A resource goes in one commit, if it
// fits into one.
func (a attempt) erase(ctx context.Context, g *gathering) error {
	var batch []store.VersionRef
	of := g.owned()
	for _, r := range slices.Concat(g.found.shared, g.found.gone) {
		if len(batch)+len(r.versions) > erasePage {
			if err := a.eraseAll(ctx, g, batch, of); err != nil {
				return err
			}
			batch, of = batch[:0], g.owned()
		}
		batch, of = append(batch, r.versions...), append(of, r.whose...)
	}
	return a.eraseAll(ctx, g, batch, of)
}

// eraseAll erases versions, on account of some patients.
func (a attempt) eraseAll(ctx context.Context, g *gathering, versions []store.VersionRef, of []string) error {
	for page := range slices.Chunk(versions, erasePage) {
		page, err := g.there(ctx, page)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			continue
		}
		n, err := a.eraseEntered(ctx, g.entering(), page, of)
		if err != nil {
			return err
		}
		g.count(page, n)
	}
	return nil
}
