package mongo

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"firebreak/fhir"
	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Mentions is store.Eraser. What a version names stays with it when it is
// replaced, and a tombstone has the compartments of the version before.
//
// One write before it reads is enough, and no transaction, which would end
// after a minute: all that was committed before is found. What another erases
// meanwhile it may pass over, though that should be undone: Residue does not.
func (s *Store) Mentions(ctx context.Context, t store.Tenant, targets []fhir.ID) ([]fhir.ID, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	n, err := s.naming(ctx, t)
	if err != nil {
		return nil, failed(ctx, err)
	}
	var out []fhir.ID
	seen := map[fhir.ID]bool{}
	for _, p := range []points{n.referring(targets), n.inCompartments(patientsOf(targets))} {
		if err := n.each(ctx, p, func(id fhir.ID) error {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
			return nil
		}); err != nil {
			return nil, failed(ctx, err)
		}
	}
	return out, nil
}

// patientsOf are the ids of those that are Patients.
func patientsOf(ids []fhir.ID) (out []string) {
	for _, id := range ids {
		if id.Type == patientType {
			out = append(out, id.ID)
		}
	}
	return out
}

// naming looks for versions by what they name, in all of a tenant's types.
type naming struct {
	s      *Store
	spaces map[string]space // by type
	types  map[uint8]string // by number
}

// naming is abreast, and reads the names as the primary has them. They are not
// kept: the number of one that was just given may yet be another's.
func (s *Store) naming(ctx context.Context, t store.Tenant) (naming, error) {
	n := naming{s: s, spaces: map[string]space{}, types: map[uint8]string{}}
	if err := s.abreast(ctx); err != nil {
		return n, err
	}
	var tenant numbered
	err := s.local(tenants).FindOne(ctx, field("_id", string(t)), options.FindOne().SetHint(byID)).Decode(&tenant)
	if err != nil {
		return n, orNone(err)
	}
	known, err := rowsOf[numbered](ctx, s.local(types), bson.D{}, options.Find().SetHint(byID))
	for _, typ := range known {
		n.types[uint8(typ.No)] = typ.Name
		n.spaces[typ.Name] = space{uint16(tenant.No), uint8(typ.No)}
	}
	return n, err
}

// space is the tenant's space of a type; false if there never was any.
func (n naming) space(typ string) (space, bool) {
	sp, ok := n.spaces[typ]
	return sp, ok
}

// referring are the points of versions that name a target.
func (n naming) referring(targets []fhir.ID) points {
	p := points{"r", byReference, nil}
	for _, sp := range n.spaces {
		for _, id := range targets {
			p.at = append(p.at, sp.referenceTo(id.String()))
		}
	}
	return p
}

// inCompartments are the points of versions in the compartment of a patient.
func (n naming) inCompartments(patients []string) points {
	p := points{"p", byPatient, nil}
	for _, sp := range n.spaces {
		for _, patient := range patients {
			p.at = append(p.at, sp.patientOf(patient))
		}
	}
	return p
}

// each calls f for each version at the points, by its id.
func (n naming) each(ctx context.Context, p points, f func(fhir.ID) error) error {
	for page := range slices.Chunk(p.at, pointPage) {
		cur, err := n.s.local(versions).Find(ctx, field(p.member, in(page)), options.Find().SetHint(p.by).
			SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "h", Value: 1}}).SetSort(field("_id", 1)).SetBatchSize(placeBatch))
		if err != nil {
			return err
		}
		if err := each(ctx, cur, func(raw bson.Raw) error {
			d, err := decode(raw)
			if err != nil {
				return err
			}
			return f(fhir.ID{Type: n.types[d.space.typ], ID: d.id})
		}); err != nil {
			return err
		}
	}
	return nil
}

// Versions is store.Eraser. It writes once before it reads, as Mentions does.
// Should it pass over a version all the same, Erase leaves the resource its
// current one, or refuses.
func (s *Store) Versions(ctx context.Context, t store.Tenant, ids []fhir.ID, yield func(*store.Version) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	n, err := s.naming(ctx, t)
	if err != nil {
		return failed(ctx, err)
	}
	var wanted [][]byte
	for _, id := range ids {
		if sp, ok := n.space(id.Type); ok {
			wanted = append(wanted, sp.resourceOf(id.ID))
		}
	}
	slices.SortFunc(wanted, bytes.Compare)
	for page := range slices.Chunk(slices.CompactFunc(wanted, bytes.Equal), getPage) {
		err := s.histories(ctx, page, func(d versionDoc) error {
			v, err := d.version(n.types[d.space.typ])
			if err != nil {
				return err
			}
			if err := yield(&v); err != nil {
				return yieldError{err}
			}
			return nil
		})
		var own yieldError
		if errors.As(err, &own) {
			return own.error
		}
		if err != nil {
			return failed(ctx, err)
		}
	}
	return nil
}

// histories reads the versions of some resources: those of one together, the
// latest first, as the index has them from its end.
func (s *Store) histories(ctx context.Context, resources [][]byte, f func(versionDoc) error) error {
	cur, err := s.local(versions).Find(ctx, field("h", in(resources)),
		options.Find().SetHint(byResource).SetSort(bson.D{{Key: "h", Value: -1}, {Key: "n", Value: -1}}).SetBatchSize(getPage))
	if err != nil {
		return err
	}
	return each(ctx, cur, func(raw bson.Raw) error {
		d, err := decode(raw)
		if err != nil {
			return err
		}
		return f(d)
	})
}
