package mongo

import (
	"context"
	"slices"

	"firebreak/operations/job"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// partRow is the document of a part.
type partRow struct {
	ID       string       `bson:"_id"` // key of tenant, job and part
	Of       string       `bson:"of"`  // the _id of its job
	Job      string       `bson:"job"`
	Part     string       `bson:"id"`
	Unit     string       `bson:"unit"`
	Category job.Category `bson:"category"`
	Type     string       `bson:"type"`
	N        int          `bson:"n"`
	Name     string       `bson:"name"`
	Count    int64        `bson:"count"`
	Size     int64        `bson:"size"`
	SHA256   string       `bson:"sha256"`
	Void     int          `bson:"void,omitempty"` // voided or forgotten; absent: neither
}

func partRowOf(f store.Fence, p job.Part) partRow {
	return partRow{
		ID: key(string(f.Tenant), f.Job, p.ID), Of: key(string(f.Tenant), f.Job), Job: f.Job, Part: p.ID, Unit: f.Unit,
		Category: p.Category, Type: p.Type, N: p.N, Name: p.Name, Count: p.Count, Size: p.Size, SHA256: p.SHA256,
	}
}

func (r partRow) decode() job.Part {
	return job.Part{
		ID: r.Part, Job: r.Job, Unit: r.Unit, Category: r.Category, Type: r.Type,
		N: r.N, Name: r.Name, Count: r.Count, Size: r.Size, SHA256: r.SHA256,
	}
}

// holderRow says that a part has resources of a patient's compartment.
type holderRow struct {
	ID     string `bson:"_id"`    // key of tenant, job, part and patient
	Holder string `bson:"holder"` // key of tenant and patient
	Part   string `bson:"part"`   // the _id of the part
}

func (r holderRow) id() string { return r.ID }

func holderRows(f store.Fence, part string, patients []string) []holderRow {
	id, of := key(string(f.Tenant), f.Job, part), prefix(string(f.Tenant), f.Job, part)
	rows := make([]holderRow, len(patients))
	for i, p := range patients {
		rows[i] = holderRow{ID: of + p, Holder: key(string(f.Tenant), p), Part: id}
	}
	return rows
}

// endParts records what an attempt wrote, drops what it replaced, and makes
// public what it numbered. A dropped part goes before its successor comes, as
// that may take its public place; its patients go after, as they may be the
// successor's too.
func (s *Store) endParts(ctx context.Context, f store.Fence, e job.UnitEnd) error {
	dropped := make(map[string]bool, len(e.Drop))
	for _, p := range e.Drop {
		dropped[p.ID] = true
	}
	if err := s.dropParts(ctx, f, e.Drop); err != nil {
		return err
	}
	if err := s.dropLeftover(ctx, f, e.Parts); err != nil {
		return err
	}
	var models []mongo.WriteModel
	for _, p := range e.Parts {
		if err := s.addHolders(ctx, f, p); err != nil {
			return err
		}
		if r := partRowOf(f, p); !dropped[p.ID] {
			models = append(models, mongo.NewReplaceOneModel().SetFilter(field("_id", r.ID)).SetReplacement(r).SetUpsert(true).SetHint(byID))
		}
	}
	for _, p := range e.Drop {
		_, err := s.db.Collection(holders).DeleteMany(ctx, under(prefix(string(f.Tenant), f.Job, p.ID)), options.DeleteMany().SetHint(byID))
		if err != nil {
			return err
		}
	}
	for id, n := range e.Numbers {
		models = append(models, mongo.NewUpdateOneModel().SetFilter(field("_id", key(string(f.Tenant), f.Job, id))).
			SetUpdate(field("$set", field("n", n))).SetHint(byID))
	}
	return s.writeParts(ctx, models)
}

// writeParts applies writes in their order.
func (s *Store) writeParts(ctx context.Context, models []mongo.WriteModel) error {
	for page := range slices.Chunk(models, pageOf) {
		if _, err := s.db.Collection(parts).BulkWrite(ctx, page); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) dropParts(ctx context.Context, f store.Fence, drop []job.Part) error {
	for page := range slices.Chunk(drop, pageOf) {
		ids := make([]string, len(page))
		for i, p := range page {
			ids[i] = key(string(f.Tenant), f.Job, p.ID)
		}
		if _, err := s.db.Collection(parts).DeleteMany(ctx, field("_id", field("$in", ids)), options.DeleteMany().SetHint(byID)); err != nil {
			return err
		}
	}
	return nil
}

// dropLeftover removes the patients of parts of the same IDs that went when the
// job began anew.
func (s *Store) dropLeftover(ctx context.Context, f store.Fence, ps []job.Part) error {
	if len(ps) == 0 {
		return nil
	}
	attempts, err := s.attempts(ctx, f)
	if err != nil || attempts == 0 {
		return err
	}
	for _, p := range ps {
		_, err := s.db.Collection(holders).DeleteMany(ctx, under(prefix(string(f.Tenant), f.Job, p.ID)), options.DeleteMany().SetHint(byID))
		if err != nil {
			return err
		}
	}
	return nil
}

// addHolders records the patients of a part, and of those that it joins.
func (s *Store) addHolders(ctx context.Context, f store.Fence, p job.Part) error {
	c := s.db.Collection(holders)
	for _, joined := range p.Joins {
		of, last := prefix(string(f.Tenant), f.Job, joined), ""
		for {
			patients, err := namesIn(ctx, c, of, last, pageOf)
			if err != nil {
				return err
			}
			if err := insertMissing(ctx, c, holderRows(f, p.ID, patients)); err != nil {
				return err
			}
			if len(patients) < pageOf {
				break
			}
			last = patients[len(patients)-1]
		}
	}
	return insertMissing(ctx, c, holderRows(f, p.ID, p.Patients))
}

// partsIn runs a query for parts.
func (s *Store) partsIn(ctx context.Context, filter bson.D, o *options.FindOptionsBuilder) ([]job.Part, error) {
	rows, err := rowsOf[partRow](ctx, s.db.Collection(parts), filter, o)
	out := make([]job.Part, len(rows))
	for i, r := range rows {
		out[i] = r.decode()
	}
	return out, err
}

// PartsOf is store.Parts.
func (s *Store) PartsOf(ctx context.Context, t store.Tenant, jobID, last string, limit int) ([]job.Part, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if limit <= 0 {
		return nil, nil
	}
	out, err := s.partsIn(ctx, append(after(prefix(string(t), jobID), last), isLive()),
		options.Find().SetHint(byID).SetSort(field("_id", 1)).SetLimit(int64(limit)).SetBatchSize(batchOf(limit)))
	return out, failed(ctx, err)
}

// Voided is store.Parts.
func (s *Store) Voided(ctx context.Context, t store.Tenant, jobID string) ([]job.Part, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	void := append(under(prefix(string(t), jobID)), bson.D{{Key: "void", Value: field("$exists", true)}, {Key: "n", Value: field("$gt", 0)}}...)
	out, err := s.partsIn(ctx, void, options.Find().SetHint(byID).SetSort(field("_id", 1)))
	return out, failed(ctx, err)
}

// Part is store.Parts.
func (s *Store) Part(ctx context.Context, t store.Tenant, jobID string, name job.PartName) (job.Part, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return job.Part{}, err
	}
	defer leave()
	if name.N <= 0 {
		return job.Part{}, store.ErrNotFound // not public, and not in the index
	}
	out, err := rowsOf[partRow](ctx, s.db.Collection(parts), bson.D{
		{Key: "of", Value: key(string(t), jobID)}, {Key: "category", Value: name.Category}, {Key: "type", Value: name.Type}, {Key: "n", Value: name.N},
	}, options.Find().SetHint(byNumber))
	switch {
	case err != nil:
		return job.Part{}, failed(ctx, err)
	case len(out) == 0:
		return job.Part{}, store.ErrNotFound
	case out[0].Void != 0:
		return job.Part{}, store.ErrGone
	}
	return out[0].decode(), nil
}

// PartsHolding is store.Parts. Both its reads are of one snapshot: between
// them a part could give way to the one that it is joined to, and the patient
// would seem to be in neither.
func (s *Store) PartsHolding(ctx context.Context, t store.Tenant, patient string) ([]job.Part, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []job.Part
	err = s.transact(ctx, func(ctx context.Context) (err error) {
		out, err = s.holding(ctx, key(string(t), patient))
		return err
	})
	if err != nil {
		return nil, failed(ctx, err)
	}
	return out, nil
}

func (s *Store) holding(ctx context.Context, holder string) (out []job.Part, err error) {
	rows, err := rowsOf[holderRow](ctx, s.db.Collection(holders), field("holder", holder),
		options.Find().SetHint(byHolder).SetSort(ascending("holder", "part")).SetBatchSize(pageOf+1))
	if err != nil {
		return nil, err
	}
	for page := range slices.Chunk(rows, pageOf) {
		ids := make([]string, len(page))
		for i, r := range page {
			ids[i] = r.Part
		}
		ps, err := s.partsIn(ctx, append(field("_id", field("$in", ids)), isLive()), options.Find().SetHint(byID).SetSort(field("_id", 1)))
		if err != nil {
			return nil, err
		}
		out = append(out, ps...)
	}
	return out, nil
}
