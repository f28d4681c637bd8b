package mongo

import (
	"context"
	"slices"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// What the member void of a part says; it is absent of others.
const (
	voided    = 1 // its bytes may be there
	forgotten = 2 // only its place is kept
)

// isLive selects parts that are not void.
func isLive() bson.E { return bson.E{Key: "void", Value: field("$exists", false)} }

// erasingRow is what announcements of a tenant and ends of units with patients
// conflict on: see the package's comment.
type erasingRow struct {
	Number  int64 `bson:"number"`  // of the last announcement
	Removed int64 `bson:"removed"` // of the last one that went with its job
	Ends    int64 `bson:"ends"`    // counts ends, so that each writes
	Goes    int64 `bson:"goes"`    // counts changes of removed, likewise
}

// erasureRow is an announcement of a patient by a job.
type erasureRow struct {
	ID     string `bson:"_id"`    // key of tenant, job and patient
	Holder string `bson:"holder"` // key of tenant and patient
	Number int64  `bson:"number"`
}

func (r erasureRow) id() string { return r.ID }

// announced is the number of the tenant's last announcement.
func (s *Store) announced(ctx context.Context, tenant string) (int64, error) {
	var r erasingRow
	err := s.db.Collection(erasing).FindOne(ctx, field("_id", tenant), options.FindOne().SetHint(byID)).Decode(&r)
	return r.Number, orNone(err)
}

// meets writes what announcements and ends of a tenant conflict on.
func (s *Store) meets(ctx context.Context, t store.Tenant, count string) (r erasingRow, err error) {
	err = s.db.Collection(erasing).FindOneAndUpdate(ctx, field("_id", string(t)), field("$inc", field(count, int64(1))),
		options.FindOneAndUpdate().SetUpsert(true).SetHint(byID).SetReturnDocument(options.After)).Decode(&r)
	return r, err
}

// announcements are the documents of an announcement.
func announcements(f store.Fence, patients []string, number int64) []erasureRow {
	of, rows := prefix(string(f.Tenant), f.Job), make([]erasureRow, len(patients))
	for i, p := range patients {
		rows[i] = erasureRow{ID: of + p, Holder: key(string(f.Tenant), p), Number: number}
	}
	return rows
}

// Announce is store.Erasures.
func (s *Store) Announce(ctx context.Context, f store.Fence, patients []string) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return failed(ctx, s.fenced(ctx, f, func(ctx context.Context) error {
		if len(patients) == 0 {
			return nil
		}
		r, err := s.meets(ctx, f.Tenant, "number")
		if err != nil {
			return err
		}
		return insertMissing(ctx, s.db.Collection(erasures), announcements(f, patients, r.Number))
	}))
}

// Forget is store.Erasures. A forgotten part holds nobody. That nothing is void
// is no write, and a primary that was deposed could say so; hence abreast.
func (s *Store) Forget(ctx context.Context, t store.Tenant, ps []job.Part) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if len(ps) > 0 {
		if err := s.abreast(ctx); err != nil {
			return failed(ctx, err)
		}
	}
	for _, p := range ps {
		if err := s.transact(ctx, func(ctx context.Context) error { return s.forgetPart(ctx, t, p) }); err != nil {
			return failed(ctx, err)
		}
	}
	return failed(ctx, ctx.Err())
}

func (s *Store) forgetPart(ctx context.Context, t store.Tenant, p job.Part) error {
	res, err := s.db.Collection(parts).UpdateOne(ctx,
		bson.D{{Key: "_id", Value: key(string(t), p.Job, p.ID)}, {Key: "name", Value: p.Name}, {Key: "void", Value: voided}},
		field("$set", bson.D{
			{Key: "void", Value: forgotten}, {Key: "name", Value: ""}, {Key: "count", Value: int64(0)}, {Key: "size", Value: int64(0)}, {Key: "sha256", Value: ""},
		}), options.UpdateOne().SetHint(byID))
	if err != nil || res.MatchedCount == 0 {
		return err
	}
	_, err = s.db.Collection(holders).DeleteMany(ctx, under(prefix(string(t), p.Job, p.ID)), options.DeleteMany().SetHint(byID))
	return err
}

// removeAnnounced removes the announcements of a job. That there were some,
// the tenant remembers before they go. They were all committed before the job
// was marked as gone, which is a write that a majority has acknowledged; so the
// primary has them.
func (s *Store) removeAnnounced(ctx context.Context, t store.Tenant, id string) error {
	which := under(prefix(string(t), id))
	var last erasureRow
	err := s.local(erasures).FindOne(ctx, which, options.FindOne().SetHint(byID).SetSort(field("number", -1))).Decode(&last)
	if err != nil {
		return orNone(err)
	}
	_, err = s.db.Collection(erasing).UpdateOne(ctx, field("_id", string(t)), bson.D{
		{Key: "$max", Value: field("removed", last.Number)}, {Key: "$inc", Value: field("goes", int64(1))},
	}, options.UpdateOne().SetHint(byID))
	if err == nil {
		_, err = s.db.Collection(erasures).DeleteMany(ctx, which, options.DeleteMany().SetHint(byID))
	}
	return err
}

// unerased answers ErrErased if what a unit ends with holds what was announced
// since it was claimed, or touches a void part. It is in the transaction of
// the end.
func (s *Store) unerased(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	if e.State != job.Succeeded {
		return nil
	}
	touched, held := touchedBy(e)
	if err := s.allLive(ctx, f, touched); err != nil || !held {
		return err
	}
	var u unitRow
	err := s.db.Collection(units).FindOne(ctx, current(f), options.FindOne().SetHint(byID).SetProjection(field("erasure", 1))).Decode(&u)
	if isNone(err) {
		return store.ErrFenced
	}
	if err != nil {
		return err
	}
	r, err := s.meets(ctx, f.Tenant, "ends")
	switch {
	case err != nil:
		return err
	case r.Removed > u.Erasure:
		return store.ErrErased
	case r.Number > u.Erasure:
		return s.unannounced(ctx, f, e.Parts, u.Erasure)
	}
	return nil
}

// touchedBy are the parts that an end joins or drops; held: what it writes
// holds somebody.
func touchedBy(e job.UnitEnd) (ids []string, held bool) {
	for _, p := range e.Drop {
		ids = append(ids, p.ID)
	}
	for _, p := range e.Parts {
		ids = append(ids, p.Joins...)
		held = held || len(p.Patients)+len(p.Joins) > 0
	}
	return ids, held
}

// allLive answers ErrErased if one of a job's parts is void.
func (s *Store) allLive(ctx context.Context, f store.Fence, ids []string) error {
	for page := range slices.Chunk(ids, pageOf) {
		names := make([]string, len(page))
		for i, id := range page {
			names[i] = key(string(f.Tenant), f.Job, id)
		}
		void := bson.D{{Key: "_id", Value: field("$in", names)}, {Key: "void", Value: field("$exists", true)}}
		if err := s.none(ctx, parts, void, byID); err != nil {
			return err
		}
	}
	return nil
}

// none answers ErrErased if there is a document.
func (s *Store) none(ctx context.Context, collection string, which bson.D, by string) error {
	err := s.db.Collection(collection).FindOne(ctx, which, options.FindOne().SetHint(by).SetProjection(field("_id", 1))).Err()
	if err == nil {
		return store.ErrErased
	}
	return orNone(err)
}

// unannounced answers ErrErased if a part holds a patient of an announcement
// after a number.
func (s *Store) unannounced(ctx context.Context, f store.Fence, ps []job.Part, number int64) error {
	look := func(patients []string) error {
		return s.none(ctx, erasures, bson.D{
			{Key: "holder", Value: field("$in", holdersOf(f.Tenant, patients))}, {Key: "number", Value: field("$gt", number)},
		}, byHolder)
	}
	for _, p := range ps {
		for page := range slices.Chunk(p.Patients, pageOf) {
			if err := look(page); err != nil {
				return err
			}
		}
		for _, joined := range p.Joins {
			if err := s.eachHeld(ctx, prefix(string(f.Tenant), f.Job, joined), look); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachHeld calls f with the patients of a part, in pages.
func (s *Store) eachHeld(ctx context.Context, of string, f func(patients []string) error) error {
	for last := ""; ; {
		patients, err := namesIn(ctx, s.db.Collection(holders), of, last, pageOf)
		if err != nil || len(patients) == 0 {
			return err
		}
		if err := f(patients); err != nil {
			return err
		}
		last = patients[len(patients)-1]
	}
}
