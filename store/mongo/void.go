package mongo

import (
	"context"
	"maps"
	"slices"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Void is store.Erasures. It writes the document of each job that begins anew,
// as all do that claim a unit of it, or end one. Those may be many, and this
// takes long: so it looks before which jobs they are, and writes them first.
func (s *Store) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) ([]job.Part, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	v := newVoiding(s, f, these)
	if err := v.find(ctx, patients); err != nil {
		return nil, failed(ctx, err)
	}
	busy := v.losing()
	err = s.fencedBeside(ctx, f, busy, func(ctx context.Context) error {
		v = newVoiding(s, f, these)
		if len(patients)+len(these) == 0 {
			return nil
		}
		if err := s.hold(ctx, busy); err != nil {
			return err
		}
		r, err := s.meets(ctx, f.Tenant, "number")
		if err != nil {
			return err
		}
		if err := s.announceAnew(ctx, announcements(f, patients, r.Number)); err != nil {
			return err
		}
		return v.run(ctx, patients)
	})
	if err != nil {
		return nil, failed(ctx, err)
	}
	if v.anew {
		s.watch.Wake(nil)
	}
	return v.parts, nil
}

// hold writes the documents of jobs.
func (s *Store) hold(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := s.db.Collection(jobs).UpdateMany(ctx, append(field("_id", field("$in", ids)), isOpen()...),
		field("$inc", field("writes", 1)), options.UpdateMany().SetHint(byID))
	return err
}

func (s *Store) announceAnew(ctx context.Context, rows []erasureRow) error {
	for page := range slices.Chunk(rows, pageOf) {
		models := make([]mongo.WriteModel, len(page))
		for i, r := range page {
			models[i] = mongo.NewReplaceOneModel().SetFilter(field("_id", r.ID)).SetReplacement(r).SetUpsert(true).SetHint(byID)
		}
		if _, err := s.db.Collection(erasures).BulkWrite(ctx, models); err != nil {
			return err
		}
	}
	return nil
}

// voiding is one try to void the parts that hold some patients, within a
// transaction.
type voiding struct {
	s     *Store
	fence store.Fence
	rows  map[string][]string // what says so, by part
	these map[string]string   // parts that are meant whoever they hold: their files
	parts []job.Part          // those parts, void ones too
	meant []string            // their rows' _id
	live  map[string]string   // jobs, but the fence's own, of those that are not void yet: their ids by _id
	anew  bool                // a job began anew
}

func newVoiding(s *Store, f store.Fence, these []job.Part) *voiding {
	v := &voiding{s: s, fence: f, rows: map[string][]string{}, these: map[string]string{}, live: map[string]string{}}
	for _, p := range these {
		v.these[key(string(f.Tenant), p.Job, p.ID)] = p.Name
	}
	return v
}

func (v *voiding) run(ctx context.Context, patients []string) error {
	if err := v.find(ctx, patients); err != nil {
		return err
	}
	for _, id := range v.losing() {
		anew, err := v.s.beginAnew(ctx, v.fence.Tenant, v.live[id])
		if err != nil {
			return err
		}
		v.anew = v.anew || anew
	}
	all := append(v.held(), v.meant...)
	slices.Sort(all)
	for page := range slices.Chunk(slices.Compact(all), pageOf) {
		if err := v.mark(ctx, page); err != nil {
			return err
		}
	}
	return nil
}

// find reads the parts that hold the patients. Of one that was dropped when its
// job began anew, there may still be rows.
func (v *voiding) find(ctx context.Context, patients []string) error {
	for page := range slices.Chunk(patients, pageOf) {
		err := v.s.eachHolding(ctx, v.fence.Tenant, page, func(r holderRow) error {
			v.rows[r.Part] = append(v.rows[r.Part], r.ID)
			return nil
		})
		if err != nil {
			return err
		}
	}
	meant := slices.AppendSeq(v.held(), maps.Keys(v.these))
	slices.Sort(meant)
	for page := range slices.Chunk(slices.Compact(meant), pageOf) {
		found, err := rowsOf[partRow](ctx, v.s.db.Collection(parts), field("_id", field("$in", page)), options.Find().SetHint(byID).SetSort(field("_id", 1)))
		if err != nil {
			return err
		}
		for _, r := range found {
			if held := v.rows[r.ID] != nil; !held && (r.Name != v.these[r.ID] || r.Void == forgotten) {
				continue
			}
			v.meant = append(v.meant, r.ID)
			v.parts = append(v.parts, r.decode())
			if r.Void == 0 && r.Job != v.fence.Job {
				v.live[r.Of] = r.Job
			}
		}
	}
	return nil
}

// held are the parts of the rows, in order.
func (v *voiding) held() []string { return slices.Sorted(maps.Keys(v.rows)) }

// losing are the jobs that lose a part, in order.
func (v *voiding) losing() []string { return slices.Sorted(maps.Keys(v.live)) }

// mark voids the parts of a page that are still on record. Of the others it
// removes what says that they hold the patients.
func (v *voiding) mark(ctx context.Context, page []string) error {
	which := field("_id", field("$in", page))
	_, err := v.s.db.Collection(parts).UpdateMany(ctx, append(which, isLive()), field("$set", field("void", voided)), options.UpdateMany().SetHint(byID))
	if err != nil {
		return err
	}
	there, err := v.s.thereAmong(ctx, page)
	if err != nil {
		return err
	}
	var left []string
	for _, id := range page {
		if !there[id] {
			left = append(left, v.rows[id]...)
		}
	}
	for some := range slices.Chunk(left, pageOf) {
		if _, err := v.s.db.Collection(holders).DeleteMany(ctx, field("_id", field("$in", some)), options.DeleteMany().SetHint(byID)); err != nil {
			return err
		}
	}
	return nil
}

// thereAmong tells which of a page of parts are on record.
func (s *Store) thereAmong(ctx context.Context, page []string) (map[string]bool, error) {
	rows := make([]bareRow, len(page))
	for i, id := range page {
		rows[i].ID = id
	}
	return thereOf(ctx, s.db.Collection(parts), rows)
}

// eachHolding calls f for what says that a part holds one of a page of
// patients, until f fails.
func (s *Store) eachHolding(ctx context.Context, t store.Tenant, patients []string, f func(holderRow) error) error {
	cur, err := s.db.Collection(holders).Find(ctx, field("holder", field("$in", holdersOf(t, patients))),
		options.Find().SetHint(byHolder).SetSort(ascending("holder", "part")).SetBatchSize(placeBatch))
	if err != nil {
		return err
	}
	return each(ctx, cur, func(raw bson.Raw) error {
		var r holderRow
		if err := bson.Unmarshal(raw, &r); err != nil {
			return err
		}
		return f(r)
	})
}

// holdersOf names patients as those who are held.
func holdersOf(t store.Tenant, patients []string) []string {
	out := make([]string, len(patients))
	for i, p := range patients {
		out[i] = key(string(t), p)
	}
	return out
}
