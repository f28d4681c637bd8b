package mongo

import (
	"context"
	"errors"
	"slices"
	"strings"

	"firebreak/fhir"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ofAKind is how many findings of a kind Residue gives: there are seven, and
// one bound for all.
const ofAKind = store.MaxResidue / 7

// Residue is store.Eraser. An index has no entry without its document, so
// nothing is looked for that only an index would hold.
//
// That nothing is left is a promise, so each look is in a transaction that also
// writes, see seen. Unlike Mentions it does not take for gone what another was
// erasing when its primary was deposed. A transaction ends after a minute, so
// each page has its own.
func (s *Store) Residue(ctx context.Context, t store.Tenant, g store.Gone) ([]store.Residue, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	l := &looking{tenant: t, gone: g}
	if l.naming, err = s.naming(ctx, t); err != nil {
		return nil, failed(ctx, err)
	}
	for _, look := range []func(context.Context) error{l.versions, l.parts, l.members, l.finds} {
		if err := look(ctx); err != nil {
			return nil, failed(ctx, err)
		}
	}
	return l.found, nil
}

// looking is one call of Residue.
type looking struct {
	naming
	tenant store.Tenant
	gone   store.Gone
	found  []store.Residue
}

// pages has f look for findings of a kind, up to so many, page by page, until
// there are enough.
func pages[T any](ctx context.Context, l *looking, all []T, size int, f func(ctx context.Context, page []T, most int) ([]store.Residue, error)) error {
	left := ofAKind
	for page := range slices.Chunk(all, size) {
		if left <= 0 {
			break
		}
		var found []store.Residue
		err := l.s.seen(ctx, func(ctx context.Context) (err error) {
			found, err = f(ctx, page, left)
			return err
		})
		if err != nil {
			return err
		}
		l.found = append(l.found, found...)
		left -= len(found)
	}
	return nil
}

// versions looks for the resources themselves, for who names them, and for who
// is in a compartment.
func (l *looking) versions(ctx context.Context) error {
	themselves := points{"h", byResource, nil}
	for _, id := range l.gone.IDs {
		if sp, ok := l.space(id.Type); ok {
			themselves.at = append(themselves.at, sp.resourceOf(id.ID))
		}
	}
	for _, look := range []struct {
		kind store.ResidueKind
		at   points
	}{
		{store.OfVersion, themselves},
		{store.OfReference, l.referring(l.gone.IDs)},
		{store.OfCompartment, l.inCompartments(l.gone.Patients)},
	} {
		err := pages(ctx, l, look.at.at, pointPage, func(ctx context.Context, page [][]byte, most int) ([]store.Residue, error) {
			return l.ids(ctx, look.kind, points{look.at.member, look.at.by, page}, most)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ids gives each resource at the points, up to so many.
func (l *looking) ids(ctx context.Context, kind store.ResidueKind, at points, most int) (found []store.Residue, err error) {
	seen := map[fhir.ID]bool{}
	err = l.each(ctx, at, func(id fhir.ID) error {
		if seen[id] {
			return nil
		}
		if len(found) == most {
			return errEnough
		}
		seen[id] = true
		found = append(found, store.Residue{Kind: kind, ID: id})
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// parts looks for parts that hold a patient, or held one and are not forgotten.
func (l *looking) parts(ctx context.Context) error {
	return pages(ctx, l, l.gone.Patients, pageOf, func(ctx context.Context, page []string, most int) (found []store.Residue, err error) {
		var some []holderRow
		add := func() error {
			if len(some) == 0 {
				return nil
			}
			there, err := l.holding(ctx, some)
			found = append(found, there[:min(len(there), most-len(found))]...)
			if some = some[:0]; err == nil && len(found) == most {
				err = errEnough
			}
			return err
		}
		err = l.s.eachHolding(ctx, l.tenant, page, func(r holderRow) error {
			if some = append(some, r); len(some) < pageOf {
				return nil
			}
			return add()
		})
		if err == nil {
			err = add()
		}
		if errors.Is(err, errEnough) {
			err = nil
		}
		return found, err
	})
}

// holding gives those of a page of rows whose part is on record: one may have
// been dropped when its job began anew.
func (l *looking) holding(ctx context.Context, page []holderRow) (found []store.Residue, err error) {
	ids, of := make([]string, len(page)), prefix(string(l.tenant))
	for i, r := range page {
		ids[i] = r.Part
	}
	there, err := l.s.thereAmong(ctx, ids)
	for _, r := range page {
		if !there[r.Part] {
			continue
		}
		jobID, part, _ := strings.Cut(strings.TrimPrefix(r.Part, of), "/")
		found = append(found, store.Residue{
			Kind: store.OfPart, ID: fhir.ID{Type: patientType, ID: strings.TrimPrefix(r.Holder, of)}, Job: unescapes.Replace(jobID), Part: part,
		})
	}
	return found, err
}

// members looks for patients in cohorts.
func (l *looking) members(ctx context.Context) error { return l.rows(ctx, l.memberRows()) }

// finds looks for resources in finds.
func (l *looking) finds(ctx context.Context) error { return l.rows(ctx, l.findRows()) }

func (l *looking) memberRows() rowsNamed {
	return rowsNamed{members, store.OfMember, l.gone.Patients, func(name string) fhir.ID { return fhir.ID{Type: patientType, ID: name} }}
}

func (l *looking) findRows() rowsNamed {
	names := make([]string, len(l.gone.IDs))
	for i, id := range l.gone.IDs {
		names[i] = key(id.Type, id.ID)
	}
	return rowsNamed{finds, store.OfFind, names, func(name string) (id fhir.ID) {
		id.Type, id.ID, _ = strings.Cut(name, "/")
		return id
	}}
}

// rowsNamed are documents of these names below jobs.
type rowsNamed struct {
	collection string
	kind       store.ResidueKind
	names      []string
	id         func(name string) fhir.ID
}

// jobsAtOnce is below how many jobs one transaction looks for rows.
const jobsAtOnce = 10

// rows looks for documents below each of the tenant's jobs, but the one whose
// own do not count. They have no index by name: there are more of them than
// jobs.
func (l *looking) rows(ctx context.Context, which rowsNamed) error {
	if len(which.names) == 0 {
		return nil
	}
	var all []string
	err := l.s.seen(ctx, func(ctx context.Context) (err error) {
		all, err = l.jobs(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return pages(ctx, l, all, jobsAtOnce, func(ctx context.Context, page []string, most int) (found []store.Residue, err error) {
		for _, j := range page {
			below, err := l.below(ctx, j, which, most-len(found))
			if err != nil {
				return nil, err
			}
			found = append(found, below...)
		}
		return found, nil
	})
}

// below gives the documents below one job, up to so many.
func (l *looking) below(ctx context.Context, j string, which rowsNamed, most int) (found []store.Residue, err error) {
	of := prefix(string(l.tenant), j)
	for page := range slices.Chunk(which.names, pageOf) {
		left := most - len(found)
		if left <= 0 {
			break
		}
		rows, err := rowsOf[bareRow](ctx, l.s.db.Collection(which.collection), field("_id", field("$in", idsBelow(of, page))),
			options.Find().SetHint(byID).SetLimit(int64(left)).SetProjection(field("_id", 1)))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			found = append(found, store.Residue{Kind: which.kind, ID: which.id(r.ID[len(of):]), Job: j})
		}
	}
	return found, nil
}

// jobs are the ids of the tenant's jobs, those that are being removed too.
func (l *looking) jobs(ctx context.Context) ([]string, error) {
	rows, err := rowsOf[struct {
		Job string `bson:"job"`
	}](ctx, l.s.db.Collection(jobs), under(prefix(string(l.tenant))), options.Find().SetHint(byID).SetProjection(bson.D{{Key: "job", Value: 1}}))
	var out []string
	for _, r := range rows {
		if r.Job != l.gone.Job {
			out = append(out, r.Job)
		}
	}
	return out, err
}
