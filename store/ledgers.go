package store

import "context"

// Ledger is how far a ledger goes that is kept outside the store, in which what
// is erased is entered: it had From entries when it was last going to have more,
// and has To at most.
type Ledger struct {
	ID       string
	From, To int64
}

// Ledgers keep how far ledgers go. They are of no tenant, and nothing removes
// them.
type Ledgers interface {
	// Ledgers lists all, in order of ID by its bytes.
	Ledgers(ctx context.Context) ([]Ledger, error)
	// Reserve notes that a ledger which has From entries is going to have To.
	// When it returns that is durable. ErrConflict: what is noted is not that it
	// goes to From (0 if nothing is), or To is not above From; then nothing was
	// written. Of calls from one number one goes through, and that one can be made
	// again until there is a later one.
	Reserve(ctx context.Context, l Ledger) error
	// Tenants lists the tenants that the store has ever had anything of, in
	// order of their names.
	Tenants(ctx context.Context) ([]Tenant, error)
}
