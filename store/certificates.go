package store

import "context"

// Certificate is a document that says what a job did. Those of a tenant are a
// chain: they are numbered from 1 without gaps, in the order in which they were
// written. The store does not look at what they say.
type Certificate struct {
	Number int64
	Job    string
	Doc    []byte
}

// Certificates keeps certificates for good: they do not go with their jobs, and
// nothing removes or changes one.
type Certificates interface {
	// Certify appends a document to the chain of the fence's tenant, as the
	// certificate of the fence's job, and returns it as it then stands. The
	// number is the one after the last one; any other is ErrConflict, and
	// nothing was written. A job has one certificate: if there is one already,
	// nothing is written, and the answer is that one, whatever the number is.
	Certify(ctx context.Context, f Fence, number int64, doc []byte) (Certificate, error)
	// Certificate returns that of a job; ErrNotFound.
	Certificate(ctx context.Context, t Tenant, jobID string) (Certificate, error)
	// Certificates lists up to n of a tenant's, the latest first, with numbers
	// below before (0: all).
	Certificates(ctx context.Context, t Tenant, before int64, n int) ([]Certificate, error)
}
