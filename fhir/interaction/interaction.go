// Package interaction holds the rules by which resources are read and written
// (https://hl7.org/fhir/R4/http.html, without the HTTP), with authorization: an
// entry of a Bundle and a line of a file go the same way as a request.
//
// Every error that a client may see is an *fhir.Error.
package interaction

import (
	"context"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
)

// Store is what interactions need of a store.
type Store interface {
	store.Committer
	store.Reader
}

// Limits bound what is taken in.
type Limits struct {
	Resource int // bytes of one resource; 0: no limit
}

// Config is what New needs; all but Limits and Server must be set.
type Config struct {
	Store      Store
	NewID      func() string // the logical id of a resource that is created
	NewBatchID func() ulid.ULID
	Limits     Limits
	// Server is the client that owns what the server itself records. Nobody else
	// may write to its AuditEvents. "": there is none.
	Server string
}

// Service does interactions. It may be used by many goroutines at once.
type Service struct{ cfg Config }

// New makes a Service.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// Shown is a resource as the answer to an interaction.
type Shown struct {
	ID          fhir.ID
	Version     int64
	LastUpdated time.Time
	Body        []byte // with meta.versionId and meta.lastUpdated; nil for what is deleted
	Created     bool   // there was none before, or a deleted one
	Unchanged   bool   // it was so already, and nothing was written
}

// Reader is how resources are read from JSON here.
func (s *Service) Reader() fhir.Reader {
	return fhir.Reader{Known: r4.IsType, MaxBytes: s.cfg.Limits.Resource}
}

// Read shows the current version. For a deleted resource, which is Gone, the
// version that deleted it is given beside the error.
func (s *Service) Read(ctx context.Context, p auth.Principal, id fhir.ID) (Shown, error) {
	if err := mayRead(p, id); err != nil {
		return Shown{}, err
	}
	found, err := s.cfg.Store.Get(ctx, tenantOf(p), id)
	if err != nil {
		return Shown{}, explain(err)
	}
	return shownVersion(found[0])
}

// VRead shows one version of a resource. As with Read, one that is a deletion is
// Gone.
func (s *Service) VRead(ctx context.Context, p auth.Principal, id fhir.ID, version int64) (Shown, error) {
	if err := mayRead(p, id); err != nil {
		return Shown{}, err
	}
	if version < 1 {
		return Shown{}, errNotFound()
	}
	v, err := s.cfg.Store.Version(ctx, tenantOf(p), id, version)
	if err != nil {
		return Shown{}, explain(err)
	}
	return shownVersion(v)
}

// mayRead refuses what cannot be there, and what p may not read.
func mayRead(p auth.Principal, id fhir.ID) error {
	if err := allow(p, auth.Read, id.Type); err != nil {
		return err
	}
	if fhir.CheckID(id.ID) != nil {
		return errNotFound()
	}
	return nil
}

// CheckType refuses, as NotFound, what is not a resource type of FHIR R4.
func CheckType(typ string) error {
	if !r4.IsType(typ) {
		return fhir.Errorf(fhir.NotFound, "not a resource type of FHIR R4; types are case-sensitive")
	}
	return nil
}

// allow asks whether p may do a to the type, which must be one of R4.
func allow(p auth.Principal, a auth.Action, typ string) error {
	if err := CheckType(typ); err != nil {
		return err
	}
	return auth.May(p, a, typ)
}

func shownVersion(v store.Version) (Shown, error) {
	shown := Shown{ID: v.ID, Version: v.N, LastUpdated: v.From.Time()}
	switch {
	case v.N == 0:
		return Shown{}, errNotFound()
	case v.Deleted:
		return shown, fhir.Errorf(fhir.Gone, "the resource was deleted; version %d was its deletion", v.N)
	}
	shown.Body = fhir.AppendShown(nil, v.Body, v.MetaAt, v.N, int64(v.From))
	return shown, nil
}

func tenantOf(p auth.Principal) store.Tenant { return store.Tenant(p.Tenant) }

func ownerOf(p auth.Principal) store.Owner { return store.Owner{Client: p.Client, User: p.User} }
