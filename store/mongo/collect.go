package mongo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// place is where a version is, and how many bytes its body has.
type place struct {
	key   versionKey
	bytes int64
}

// crowd is the patients of a cohort: by name while they are few, else as
// hashes, so that a million take 16 MB.
type crowd struct {
	few    []string
	hashes map[[16]byte]struct{}
}

// fewMembers is up to how many members a cohort's resources are looked for
// member by member. Of more, the whole range is read.
const fewMembers = 10_000

func (c *crowd) big() bool { return len(c.hashes) > fewMembers }

func (c *crowd) has(patient string) bool {
	_, ok := c.hashes[hashOf(patient)]
	return ok
}

func hashOf(patient string) (h [16]byte) {
	sum := sha256.Sum256([]byte(patient))
	copy(h[:], sum[:])
	return h
}

// cohort reads the members of the selection's cohort.
func (c *scan) cohort(ctx context.Context) (*crowd, error) {
	out := &crowd{hashes: map[[16]byte]struct{}{}}
	if c.sel.Cohort == "" {
		return out, nil
	}
	err := c.s.eachMember(ctx, c.tenant, c.sel.Cohort, func(patient string) error {
		out.hashes[hashOf(patient)] = struct{}{}
		if len(out.few) <= fewMembers {
			out.few = append(out.few, patient)
		}
		return nil
	})
	return out, err
}

// eachMember calls f for each member of a cohort.
func (s *Store) eachMember(ctx context.Context, t store.Tenant, c store.CohortID, f func(patient string) error) error {
	for after := ""; ; {
		page, err := namesIn(ctx, s.db.Collection(members), prefix(string(t), string(c)), after, memberPage)
		if err != nil {
			return err
		}
		for _, p := range page {
			if err := f(p); err != nil {
				return err
			}
		}
		if len(page) < memberPage {
			return nil
		}
		after = page[len(page)-1]
	}
}

// memberPage is how many members are read at a time.
const memberPage = 2000

// points are places of an index: what is found at any of them is meant.
type points struct {
	member string // of a version: "h" or "p"
	by     string // the index
	at     [][]byte
}

// named are the points at which a selection's versions of one type lie.
func (c *scan) named(crowd *crowd) []points {
	var out []points
	if c.sel.IDs != nil {
		p := points{"h", byResource, nil}
		for _, id := range c.sel.IDs {
			if c.sel.Cohort == "" || c.typ != patientType || crowd.has(id) {
				p.at = append(p.at, c.space.resourceOf(id))
			}
		}
		if c.sel.Cohort != "" {
			c.member = crowd.has
		}
		return append(out, p)
	}
	return append(out, pointsOf(crowd.few, map[string]space{c.typ: c.space})...)
}

// pointsOf are the points of patients among the resources of some types.
func pointsOf(patients []string, of map[string]space) []points {
	themselves, compartments := points{"h", byResource, nil}, points{"p", byPatient, nil}
	for _, patient := range patients {
		for typ, sp := range of {
			if typ == patientType {
				themselves.at = append(themselves.at, sp.resourceOf(patient))
			} else {
				compartments.at = append(compartments.at, sp.patientOf(patient))
			}
		}
	}
	return []points{themselves, compartments}
}

// meant is the condition of being current as of a selection's instant, and of
// having become so after its other.
func meant(sel store.Selection) bson.D {
	return bson.D{
		{Key: "f", Value: bson.D{{Key: "$lte", Value: int64(sel.At)}, {Key: "$gt", Value: int64(sel.After)}}},
		{Key: "t", Value: field("$gt", int64(sel.At))},
		{Key: "d", Value: field("$exists", false)},
	}
}

// pointPage is how many points are asked for at once.
const pointPage = 1000

// collect finds the places of the versions at the points, and in [from, to),
// that the selection's instants mean: in order, and each once.
func (s *Store) collect(ctx context.Context, sel store.Selection, at []points, from, to versionKey) ([]place, error) {
	var out []place
	for _, p := range at {
		for page := range slices.Chunk(p.at, pointPage) {
			filter := append(bson.D{{Key: p.member, Value: in(page)}, span(from, to)}, meant(sel)...)
			found, err := s.places(ctx, versions, filter, options.Find().SetHint(p.by))
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	slices.SortFunc(out, comparePlaces)
	return slices.CompactFunc(out, func(a, b place) bool { return a.key == b.key }), nil
}

func comparePlaces(a, b place) int { return compareKeys(a.key, b.key) }

func compareKeys(a, b versionKey) int { return bytes.Compare(a[:], b[:]) }

// places reads where the documents of a query are, in order.
func (s *Store) places(ctx context.Context, collection string, filter bson.D, o *options.FindOptionsBuilder) ([]place, error) {
	cur, err := s.local(collection).Find(ctx, filter, o.SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: "z", Value: 1}}).SetSort(field("_id", 1)).SetBatchSize(placeBatch))
	if err != nil {
		return nil, err
	}
	var out []place
	err = each(ctx, cur, func(raw bson.Raw) error {
		var p place
		_, b := raw.Lookup("_id").Binary()
		copy(p.key[:], b)
		p.bytes = raw.Lookup("z").AsInt64()
		out = append(out, p)
		return nil
	})
	return out, err
}

// placeBatch is how many places are fetched at a time.
const placeBatch = 20_000
