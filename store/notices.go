package store

import (
	"context"
	"time"

	"firebreak/fhir"
)

// Notices keep what owners are to hear of: that resources were erased. A notice
// is an id and nothing else of the resource. Whether there is one of that id,
// or again, is not looked at. Notices do not go with any job.
type Notices interface {
	// Tell notes, under the fence of a unit, that an owner is to hear until an
	// instant that resources were erased. Of two instants for one resource the
	// later one counts. It is one commit or several, each of which holds by
	// itself; telling again changes nothing. Instants are taken to the
	// millisecond.
	Tell(ctx context.Context, f Fence, owner Owner, until time.Time, ids []fhir.ID) error
	// Told lists up to n of the resources of which an owner is to hear at an
	// instant: in order of type and then of id, by their bytes, those after the
	// given one; the zero ID for the first.
	Told(ctx context.Context, t Tenant, owner Owner, now time.Time, after fhir.ID, n int) ([]fhir.ID, error)
	// Untell removes, of all tenants, what nobody is to hear of any more at an
	// instant.
	Untell(ctx context.Context, now time.Time) error
}
