package mongo

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// holdRow is the document of a hold.
type holdRow struct {
	ID       string     `bson:"_id"` // key of tenant and hold
	On       string     `bson:"on"`
	Subject  string     `bson:"subject"`
	By       string     `bson:"by"`
	Why      string     `bson:"why"`
	Set      time.Time  `bson:"set"`
	Until    *time.Time `bson:"until"`  // null: until it is lifted
	Lifted   *time.Time `bson:"lifted"` // null: it was not
	LiftedBy string     `bson:"lifted_by"`
}

// heldRow is a document for each patient that a hold is on. One without its
// hold says nothing.
type heldRow struct {
	ID     string `bson:"_id"`    // key of tenant, hold and patient
	Holder string `bson:"holder"` // key of tenant and patient; no patient: the tenant's
}

func (r heldRow) id() string { return r.ID }

func holdRowOf(t store.Tenant, h store.Hold) holdRow {
	return holdRow{
		ID: key(string(t), h.ID), On: string(h.On), Subject: h.Subject, By: h.By, Why: h.Why,
		Set: h.Set, Until: orNull(h.Until), Lifted: orNull(h.Lifted), LiftedBy: h.LiftedBy,
	}
}

// orNull is an instant as a member; the zero time is null.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (r holdRow) decode(t store.Tenant) store.Hold {
	h := store.Hold{
		ID: r.ID[len(prefix(string(t))):], On: store.HoldOn(r.On), Subject: r.Subject, By: r.By, Why: r.Why, Set: r.Set.UTC(), LiftedBy: r.LiftedBy,
	}
	if r.Until != nil {
		h.Until = r.Until.UTC()
	}
	if r.Lifted != nil {
		h.Lifted = r.Lifted.UTC()
	}
	return h
}

// standing selects the holds that stand at an instant.
func standing(at time.Time) bson.D {
	return bson.D{{Key: "lifted", Value: nil}, {Key: "$or", Value: bson.A{field("until", nil), field("until", field("$gt", at))}}}
}

// SetHold is store.Holds. It writes whom the hold is on, then the hold, and then
// meets the erasures under way: see the package's comment.
func (s *Store) SetHold(ctx context.Context, t store.Tenant, h store.Hold, patients ...string) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return failed(ctx, s.setHold(ctx, t, h, patients))
}

func (s *Store) setHold(ctx context.Context, t store.Tenant, h store.Hold, patients []string) error {
	if err := s.abreast(ctx); err != nil {
		return err
	}
	row := holdRowOf(t, h)
	n, err := s.db.Collection(holds).CountDocuments(ctx, field("_id", row.ID), options.Count().SetHint(byID))
	if err == nil && n == 0 {
		err = s.writeHold(ctx, row, heldRows(t, h, patients))
	}
	if err != nil {
		return err
	}
	return s.meetErasures(ctx, t)
}

func heldRows(t store.Tenant, h store.Hold, patients []string) []heldRow {
	if h.On != store.OnGroup {
		patients = []string{h.Subject}
	}
	of, out := prefix(string(t), h.ID), make([]heldRow, len(patients))
	for i, p := range patients {
		out[i] = heldRow{ID: of + p, Holder: key(string(t), p)}
	}
	return out
}

// writeHold makes a hold stand at once on all that it is on. What another wrote
// of it who was cut off, or is faster, is left.
func (s *Store) writeHold(ctx context.Context, row holdRow, on []heldRow) error {
	for page := range slices.Chunk(on, pageOf) {
		models := make([]mongo.WriteModel, len(page))
		for i, r := range page {
			models[i] = mongo.NewUpdateOneModel().SetFilter(field("_id", r.ID)).SetUpdate(field("$set", field("holder", r.Holder))).SetUpsert(true).SetHint(byID)
		}
		if _, err := s.db.Collection(heldOnes).BulkWrite(ctx, models); err != nil {
			return err
		}
	}
	_, err := s.db.Collection(holds).InsertOne(ctx, row)
	if mongo.IsDuplicateKeyError(err) {
		return nil
	}
	return err
}

// meetErasures writes the documents of all jobs under way, as each erasure does
// with its own.
func (s *Store) meetErasures(ctx context.Context, t store.Tenant) error {
	if err := s.abreast(ctx); err != nil {
		return err
	}
	_, err := s.db.Collection(jobs).UpdateMany(ctx, append(notEnded(), bson.E{Key: "tenant", Value: string(t)}),
		field("$inc", field("writes", 1)), options.UpdateMany().SetHint(byDiscard))
	return err
}

// LiftHold is store.Holds. It is marked first: without that, what says whom it
// is on must stay.
func (s *Store) LiftHold(ctx context.Context, t store.Tenant, id, by string, now time.Time) (store.Hold, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return store.Hold{}, err
	}
	defer leave()
	row, err := s.lift(ctx, key(string(t), id), by, now)
	if err == nil {
		_, err = s.db.Collection(heldOnes).DeleteMany(ctx, under(prefix(string(t), id)), options.DeleteMany().SetHint(byID))
	}
	if err != nil {
		return store.Hold{}, failed(ctx, err)
	}
	return row.decode(t), nil
}

func (s *Store) lift(ctx context.Context, id, by string, now time.Time) (row holdRow, err error) {
	if err := s.abreast(ctx); err != nil {
		return row, err
	}
	which := field("_id", id)
	_, err = s.db.Collection(holds).UpdateOne(ctx, append(which, bson.E{Key: "lifted", Value: nil}),
		field("$set", bson.D{{Key: "lifted", Value: now}, {Key: "lifted_by", Value: by}}), options.UpdateOne().SetHint(byID))
	if err == nil {
		err = s.db.Collection(holds).FindOne(ctx, which, options.FindOne().SetHint(byID)).Decode(&row)
	}
	if isNone(err) {
		err = store.ErrNotFound
	}
	return row, err
}

// Holds is store.Holds.
func (s *Store) Holds(ctx context.Context, t store.Tenant, at time.Time, last string, n int) ([]store.Hold, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if n <= 0 {
		return nil, nil // a limit of 0 would be none
	}
	if err := s.abreast(ctx); err != nil {
		return nil, failed(ctx, err)
	}
	which := after(prefix(string(t)), last)
	if !at.IsZero() {
		which = append(which, standing(at)...)
	}
	rows, err := rowsOf[holdRow](ctx, s.db.Collection(holds), which,
		options.Find().SetHint(byID).SetSort(field("_id", 1)).SetLimit(int64(n)).SetBatchSize(batchOf(n)))
	out := make([]store.Hold, len(rows))
	for i, r := range rows {
		out[i] = r.decode(t)
	}
	return out, failed(ctx, err)
}

// HeldAmong is store.Holds.
func (s *Store) HeldAmong(ctx context.Context, t store.Tenant, at time.Time, patients []string) ([]store.Held, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.abreast(ctx); err != nil {
		return nil, failed(ctx, err)
	}
	out, err := s.heldAmong(ctx, t, func() (time.Time, error) { return at, nil }, patients)
	return out, failed(ctx, err)
}

// heldAmong is HeldAmong, within a transaction or without. Where nothing is
// held, it asks once for each page of patients, and does not ask at.
func (s *Store) heldAmong(ctx context.Context, t store.Tenant, at func() (time.Time, error), patients []string) (out []store.Held, err error) {
	all := append([]string{""}, patients...)
	slices.Sort(all)
	for page := range slices.Chunk(slices.Compact(all), pageOf) {
		rows, err := rowsOf[heldRow](ctx, s.db.Collection(heldOnes), field("holder", field("$in", holdersOf(t, page))),
			options.Find().SetHint(byHolder).SetBatchSize(pageOf+1))
		if err == nil && len(rows) == 0 {
			continue
		}
		var some []store.Held
		if err == nil {
			some, err = s.standingOf(ctx, t, at, rows)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	slices.SortFunc(out, func(a, b store.Held) int {
		return cmp.Or(cmp.Compare(a.Patient, b.Patient), cmp.Compare(a.Hold.ID, b.Hold.ID))
	})
	return out, nil
}

// standingOf are the holds of rows that stand, with whom they are on.
func (s *Store) standingOf(ctx context.Context, t store.Tenant, at func() (time.Time, error), rows []heldRow) (out []store.Held, err error) {
	now, err := at()
	if err != nil {
		return nil, err
	}
	patients, ids := map[string][]string{}, []string{}
	for _, r := range rows {
		patient := r.Holder[len(prefix(string(t))):]
		id := strings.TrimSuffix(r.ID, "/"+patient)
		if patients[id] == nil {
			ids = append(ids, id)
		}
		patients[id] = append(patients[id], patient)
	}
	for page := range slices.Chunk(ids, pageOf) {
		found, err := rowsOf[holdRow](ctx, s.db.Collection(holds), append(field("_id", field("$in", page)), standing(now)...), options.Find().SetHint(byID))
		if err != nil {
			return nil, err
		}
		for _, h := range found {
			for _, p := range patients[h.ID] {
				out = append(out, store.Held{Hold: h.decode(t), Patient: p})
			}
		}
	}
	return out, nil
}

// unheld answers ErrOnHold if a hold is on one of the patients, or on the
// tenant. It is in the transaction of the erasure, and at is not.
func (s *Store) unheld(ctx context.Context, t store.Tenant, at func() (time.Time, error), patients []string) error {
	held, err := s.heldAmong(ctx, t, at, patients)
	if err == nil && len(held) > 0 {
		err = &store.OnHold{Held: held[0]}
	}
	return err
}
