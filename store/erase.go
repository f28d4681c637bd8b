package store

import (
	"context"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
)

// VersionRef names one version of a resource.
type VersionRef struct {
	Key Key
	ID  fhir.ID
	N   int64
}

// Erased is what an erasure removed.
type Erased = job.Erased

// Eraser removes for good. After an erasure a version cannot be read, scanned
// or found in any way; where its bytes may still lie is for Scrub.
type Eraser interface {
	// Mentions returns the ids of resources, deleted ones too, of which any
	// version, be it current, replaced or a tombstone, is in the compartment of
	// one of the targets that are Patients, or names one of the targets by a
	// literal relative reference. A Patient is in its own compartment. It may
	// return one twice. What it costs follows the answer.
	Mentions(ctx context.Context, t Tenant, targets []fhir.ID) ([]fhir.ID, error)
	// Versions yields every version of the resources, tombstones too: those of
	// one resource together, the latest first; the resources in any order, each
	// once. An id of which there is nothing is passed over. It holds no
	// transaction while it yields, buffers a bounded number of bytes, and ends
	// with the error that yield returns. v is valid until yield returns.
	Versions(ctx context.Context, t Tenant, ids []fhir.ID, yield func(v *Version) error) error
	// Erase removes exactly these versions with all that finds them, and adds
	// what it removed to the Erased of the fence's unit, in one commit. So the
	// count is true at every look, and erasing again counts nothing twice. A
	// version that is not there, or whose key, id and number do not belong
	// together, is no error and is not counted. A batch of 1000 always fits.
	//
	// A resource is left with its current version, or with nothing: else
	// ErrConflict, and nothing is removed. So who cannot erase a resource at
	// once begins with its oldest versions. Once nothing is left, its id is as
	// if it had never been used: the next version is number 1, with a new key.
	// A scan under way yields an erased version or does not; it does not fail.
	//
	// of are patients on whose account the versions go, or would be missed. If a
	// hold that stands, by the store's clock, is on one of them or on the tenant,
	// the answer is ErrOnHold, and nothing is removed. A hold that was
	// acknowledged before the erasure is committed is seen.
	Erase(ctx context.Context, f Fence, vs []VersionRef, of ...string) (Erased, error)
	// Residue looks for what is left of what was erased, or mentions it; none
	// if nothing is. It gives each kind of what it finds, and of all
	// MaxResidue at most. It goes by indexes and opens no body. While others
	// write, it need not see what they write.
	Residue(ctx context.Context, t Tenant, g Gone) ([]Residue, error)
	// Scrub overwrites what is left of erased bytes where the store can reach
	// them, and tells where it cannot. Whatever was erased before the call is
	// meant, by whom and of which tenant ever. Others go on meanwhile, but for
	// moments.
	Scrub(ctx context.Context) (Traces, error)
}

// Gone is what should not be there any more.
type Gone struct {
	IDs      []fhir.ID // resources
	Patients []string  // those whose compartments should be empty
	Job      string    // whose own members and finds do not count; "": none's
}

// MaxResidue is how many findings Residue gives at most.
const MaxResidue = 100

// ResidueKind says what was found.
type ResidueKind string

// The kinds of what Residue finds.
const (
	// OfVersion: the resource has a version.
	OfVersion ResidueKind = "version"
	// OfReference: a version of the resource names an erased one by a literal
	// relative reference.
	OfReference ResidueKind = "reference"
	// OfCompartment: a version of the resource, or a tombstone, is in the
	// compartment of a patient.
	OfCompartment ResidueKind = "compartment"
	// OfIndex: an index has an entry, for the resource or for a reference to
	// it, behind which there is no version: the store is damaged.
	OfIndex ResidueKind = "index"
	// OfPart: a part of the job holds a patient, or is void and its bytes have
	// not been forgotten.
	OfPart ResidueKind = "part"
	// OfMember: a patient is a member of the job's cohort.
	OfMember ResidueKind = "member"
	// OfFind: a resource is among the job's finds.
	OfFind ResidueKind = "find"
)

// Residue is one thing that is left.
type Residue struct {
	Kind ResidueKind
	ID   fhir.ID // the resource; of a part: the patient
	Job  string  // whose part, member or find it is
	Part string  // the part's ID
}

// Traces is where erased bytes may still be, out of the store's reach: in the
// log that the members of a replica set copy from. Backups and what a file
// system keeps of freed blocks are never known.
type Traces struct {
	Unknown bool      // the store cannot tell
	Until   time.Time // about until when they may be there; zero: nowhere, unless Unknown
}

// AnewAfter is how long the units of a job wait that begins anew: those who
// were at them have time to see that they are not theirs any more.
const AnewAfter = 2 * time.Second

// Erasures keep what was erased out of the files of exports. A job that
// erases announces whom before its first erasure, and voids after its last:
//
//   - A unit that was claimed before an announcement may have read what is
//     going to be erased. It cannot end with a part that holds it: it is put
//     back, and reads anew.
//   - Void announces once more, in the same commit in which it voids. So of
//     the units that read before the last erasure each has ended before Void,
//     and its parts are voided, or cannot end any more. One that is claimed
//     later finds nothing.
//   - A voided part stays on record, with the patients it holds, until Forget
//     says that its bytes are gone. Until then each Void of one of them
//     returns it, and Residue finds it. So bytes whose removal was cut short
//     are found again by whoever tries again. Parts of a job that begins anew
//     are the exception: see Void.
//
// Bytes that no part records, those of attempts that did not end or of parts
// that were dropped, are not seen here: who sweeps the file store knows them.
type Erasures interface {
	// Announce commits that the patients are being erased, under the fence of a
	// unit. From then on End of a unit that was claimed before answers
	// ErrErased if it succeeds with a part that holds one of them, by its
	// Patients or those of what it Joins; one that is claimed later may end.
	// Announcing one again in the same job changes nothing. Announcements go
	// with their job; a unit that was claimed before one that went has met it,
	// whoever its patients are.
	Announce(ctx context.Context, f Fence, patients []string) error
	// Void voids the parts of all jobs of the tenant that hold one of the
	// patients, and these parts whoever they hold, as they were listed; and it
	// announces the patients anew, in one commit under the fence of a unit.
	// PartsOf and PartsHolding do not list a void part, and the
	// answer to its public name is ErrGone; a number that it gets later makes
	// it public as void. A unit that joins or drops one cannot succeed:
	// ErrErased. Void returns all void parts that hold one of the patients, or
	// are among these, and were not forgotten, whoever voided them: the caller
	// removes their bytes.
	//
	// In the same commit each job begins anew that has not ended, was not asked
	// to stop, and has a part that this Void voids; but not the fence's own. Its
	// Restarts count that. Each of its units of a phase above 0 is put back as
	// if it had never been claimed: queued, from AnewAfter on, without counts,
	// errors, losses, reason, total and result. What it erased stays counted,
	// and its attempts count on, so that whoever is at it is fenced; those of a
	// unit that is added again count on too. The records of the parts that
	// these units wrote are dropped, void ones among them; a void part of a
	// unit of phase 0 stays. So no job that was under way succeeds without what
	// a void part held of other patients.
	//
	// The parts that Void returns have their Job, though they be not public yet.
	// Those whose record it dropped are among them this once: if they are not
	// removed then, who sweeps the file store finds them.
	Void(ctx context.Context, f Fence, patients []string, these ...job.Part) ([]job.Part, error)
	// Strike removes the patients from the cohorts, and the resources from the
	// finds, of all jobs of the tenant but the fence's, under the fence of a
	// unit: g.Job is not looked at. It is one commit or several, each of which
	// holds by itself. Striking again changes nothing. Afterwards Residue finds
	// none of these members and finds, but what others add meanwhile. A job
	// under way goes on with the rest.
	Strike(ctx context.Context, f Fence, g Gone) error
	// Forget notes that the bytes of void parts, as Void gave them, are gone:
	// nothing but their places is kept. One that is not there or not void is
	// passed over.
	Forget(ctx context.Context, t Tenant, parts []job.Part) error
}
