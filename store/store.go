// Package store is the contract between Firebreak and a database: resources
// with their history, jobs, units, cohorts and the records of files. It does
// not know which database it is, nor who is asking.
//
// Every promise made here has a case in store/storetest, and each store passes
// all of it. Nothing here assumes one process, one writer or SQL.
//
// # Time
//
// A transaction of the store has one Tick, greater than that of each version
// it replaces and than every barrier before it. A barrier at T makes a
// snapshot of all versions with from ≤ T < to, whatever is written later: a
// version is written once and only closed afterwards, so a scan as of T needs
// no transaction to be held. Only an erasure removes versions.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/search"
	"firebreak/operations/job"

	"github.com/oklog/ulid/v2"
)

// Tenant isolates: no query crosses it.
type Tenant string

// Owner is whom a resource or a job belongs to.
type Owner = job.Owner

// Tick is milliseconds since 1970 on one tenant's clock; shown as lastUpdated.
type Tick int64

// Forever is the To of a version that is current.
const Forever = Tick(math.MaxInt64)

// TickOf is the tick of an instant; what is finer than a millisecond is cut.
func TickOf(t time.Time) Tick { return Tick(t.UnixMilli()) }

// Time is the instant of the tick, in UTC.
func (t Tick) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// Key is a version's own place: in order of type (an order of the store's),
// then of insertion, and never used again, not after an erasure either. Within
// a type and a tenant, From goes up with it. It is opaque but for its order.
// A scan goes by keys, and a unit of work is a range of them. It is ASCII text.
type Key string

// Version is one version of a resource, or a tombstone. It is current over
// [From, To).
type Version struct {
	Key      Key
	ID       fhir.ID
	N        int64 // versionId; 0 in an answer of Get: there is none
	From, To Tick
	Deleted  bool
	Detached bool     // the server wrote it, to take the place of one that named what was erased
	Owner    Owner    // whom it was created for; later versions keep it
	Body     []byte   // see fhir.Resource; nil for a tombstone
	MetaAt   int      // see fhir.Resource
	Patients []string // in whose compartments; of a tombstone: of the version before
}

// AsOf tells whether the version is the current one at t.
func (v Version) AsOf(t Tick) bool { return v.From <= t && t < v.To }

// What a Put expects of the resource's present state; n > 0: that versionId n
// is current.
const (
	Any    int64 = 0  // nothing
	Absent int64 = -1 // that there is none, nor a tombstone
)

// Put writes a resource's next version, or a tombstone if Delete is set.
type Put struct {
	Resource fhir.Resource // of a deletion: the ID only
	Terms    []search.Term
	Expect   int64
	Owner    Owner // of the first version; later ones keep theirs
	Delete   bool
	Detached bool // it says nothing that the version before does not say: see Version
}

// Batch is what is applied together. It is declarative, so that many share a
// transaction, and so that it can be applied again when a commit's result is
// unknown. A resource may be in it once.
type Batch struct {
	ID   ulid.ULID // names the commit, so that its result can be looked up
	Puts []Put
}

// Applied is what became of a Put.
type Applied struct {
	Key       Key
	N         int64
	At        Tick
	Created   bool // there was no current version before, or a tombstone
	Unchanged bool // the content is that of the current version: nothing was written
}

// Errors of a store. Each means that nothing was written.
var (
	ErrConflict = errors.New("store: the current version is not the expected one")
	ErrFenced   = errors.New("store: the attempt is not the current one")
	ErrTooLarge = errors.New("store: the batch does not fit")
	ErrNotFound = errors.New("store: there is no such thing")
	ErrFull     = errors.New("store: the disk is full")
	ErrClosed   = errors.New("store: closed")
	ErrLimit    = errors.New("store: too many jobs are under way")
	// ErrKeyReused: the key names a job that was asked for something else.
	ErrKeyReused = errors.New("store: the idempotency key is another request's")
	// ErrErased: the parts hold what has been announced as erased since the unit
	// was claimed. It is to be put back.
	ErrErased = errors.New("store: what the parts hold is being erased")
	// ErrGone: there was a part of this name, and it was voided.
	ErrGone = errors.New("store: the part was removed by an erasure")
)

// ErrTransient says that the database cannot be reached now, or has just
// changed its primary. Unlike the others it leaves open whether something was written; the
// same call may be made again.
var ErrTransient = errors.New("store: the database does not answer now")

// Committer writes.
type Committer interface {
	// Commit applies the batch, all or nothing, at one Tick greater than every
	// barrier returned before and than From of each version it replaces. When
	// it returns, the batch is durable. The results are in the order of the
	// puts; batches of one transaction share its Tick.
	//
	// ErrConflict: an expectation does not hold, or a resource is in the batch
	// twice. ErrTooLarge: the batch is over the store's limit. A deletion of
	// what is not there, or is deleted, changes nothing.
	Commit(ctx context.Context, t Tenant, b Batch) ([]Applied, error)
	// Barrier returns T, a multiple of round (1 ms at least): every commit
	// acknowledged before the call is ≤ T and visible; none ≤ T will ever
	// appear. T is never more than round ahead of the clock, but after the
	// clock has been set back; the call waits instead. With no commit between
	// them, calls within one round share T.
	Barrier(ctx context.Context, t Tenant, round time.Duration) (Tick, error)
	// Clock is the tenant's present tick: no version and no barrier is later.
	Clock(ctx context.Context, t Tenant) (Tick, error)
}

// Reader reads resources. Bodies that it returns are the caller's to keep.
type Reader interface {
	// Get returns the current version, or the tombstone, of each id, in their
	// order; N is 0 where there is none.
	Get(ctx context.Context, t Tenant, ids ...fhir.ID) ([]Version, error)
	// Version returns versionId n of a resource, a tombstone too; ErrNotFound.
	Version(ctx context.Context, t Tenant, id fhir.ID, n int64) (Version, error)
	// History returns the versions of one resource with versionId below
	// before (0: all), the latest first: as many as fit limit bytes of
	// bodies, and at least one if there is any.
	History(ctx context.Context, t Tenant, id fhir.ID, before int64, limit int) ([]Version, error)
}

// CohortID names a set of patients that is kept as rows.
type CohortID string

// Selection says which versions are meant. Each member narrows it.
type Selection struct {
	At    Tick     // those current at At: the T of a barrier of the tenant
	After Tick     // those that became current after After; 0: all
	Types []string // nil: all
	IDs   []string // those with one of these logical ids; nil: all
	// Compartments: those in any patient's compartment.
	Compartments bool
	// Cohort: those in the compartment of a patient of the cohort; of the type
	// Patient the patients of the cohort themselves, and no linked ones.
	Cohort CohortID
	// Deleted: tombstones instead, whose compartments are those of the version
	// before.
	Deleted bool
	// Every: all versions that became current by At, those that were replaced
	// and tombstones too. At, After, Types and Owner are all that goes with it.
	Every bool
	// Owner: those that belong to it; nil: whomever they belong to. At, After,
	// Types, Deleted and Every are all that goes with it.
	Owner *Owner
}

// Range is a half-open range of keys of one type, with a guess at the bytes of
// the bodies in it.
type Range struct {
	Type     string `json:"type"`
	From, To Key
	Bytes    int64 `json:"bytes"`
}

// Scanner reads much.
type Scanner interface {
	// Split cuts a selection into disjoint ranges of keys, in order of Key,
	// that cover it, each of about bytesEach bytes. A type that the tenant has
	// nothing of has no range; a range may turn out to hold nothing. What it
	// costs follows the selection.
	Split(ctx context.Context, t Tenant, s Selection, bytesEach int64) ([]Range, error)
	// Scan yields the selected versions of the range in order of Key, those
	// after the given key ("" for all). It holds no
	// transaction between chunks, buffers a bounded number of bytes, and ends
	// with the error that yield returns. v is valid until yield returns.
	Scan(ctx context.Context, t Tenant, s Selection, r Range, after Key, yield func(v *Version) error) error
}

// Fence is a claim on a unit: writes under it go through only while it is the
// unit's current attempt, the unit is running, and its job has not ended. That
// the lease has run out does not matter until another claims the unit.
type Fence struct {
	Tenant    Tenant
	Job, Unit string
	Attempt   int
}

// Limit is how many jobs of one kind may be under way: not ended, and not
// being cancelled. 0: any number.
type Limit struct {
	PerOwner int // of the job's owner, within its tenant
	All      int // in all tenants
}

// JobCount is how many jobs of a kind are in a state: one at least.
type JobCount struct {
	Kind   string
	State  job.State
	Jobs   int
	Oldest time.Time // Created of the one with the least id
}

// Jobs keeps jobs.
type Jobs interface {
	// Create writes a new job with its first units, all or nothing, and returns
	// it. If j has a Key, and a job of the same tenant, owner and kind that is
	// not dismissed has it too, nothing is written: the answer is that job if
	// its Digest is the same, else ErrKeyReused. ErrLimit: the limit is reached.
	Create(ctx context.Context, j job.Job, units []job.Unit, l Limit) (job.Job, error)
	// Job returns the owner's job; another owner's is ErrNotFound too.
	Job(ctx context.Context, t Tenant, who Owner, id string) (job.Job, error)
	// List returns up to n of the owner's jobs, the latest first, with ids
	// below before ("": all). Dismissed ones are not among them.
	List(ctx context.Context, t Tenant, who Owner, before string, n int) ([]job.Job, error)
	// Peek returns a job whoever's it is; ErrNotFound. It is for the engine.
	Peek(ctx context.Context, t Tenant, id string) (job.Job, error)
	// Update replaces a job by f of it, compare and swap: f may run twice. It
	// returns the job as it then stands. An error of f changes nothing. The
	// units stay as they are, whatever becomes of the job: those that were not
	// at work when it ended are still queued.
	Update(ctx context.Context, t Tenant, id string, f func(job.Job) (job.Job, error)) (job.Job, error)
	// Attend lists, in order of id from after, jobs that need the engine: those
	// not in a final state whose cancel was requested, and those whose
	// Job.Discard may hold now; with all, every other one not in a final state
	// too. What it costs follows what it lists.
	Attend(ctx context.Context, now time.Time, all bool, after string, limit int) ([]job.Job, error)
	// Remove deletes a job with its units, cohort, finds, announcements and
	// part records. Removing what is not there is no error.
	Remove(ctx context.Context, t Tenant, id string) error
	// CountJobs counts the jobs of all tenants, by kind and state, in that
	// order; those dismissed or expired too until they are removed. It is for
	// the operator.
	CountJobs(ctx context.Context) ([]JobCount, error)
}

// Units keeps the units of jobs.
type Units interface {
	// Add writes units of later phases under the fence of the planning unit.
	// An id added before by the same attempt changes nothing; what an earlier
	// attempt added goes, now or when this one ends.
	Add(ctx context.Context, f Fence, us []job.Unit) error
	// Claim gives the caller a unit of one of the kinds for a lease on the
	// store's clock: a queued one whose RunAt has come, or a running one whose
	// lease has ended, which counts as lost. All units of lower phases have
	// succeeded, and the job has neither ended nor was its cancel requested.
	// One caller wins.
	// ErrNotFound: there is none now.
	Claim(ctx context.Context, kinds []string, lease time.Duration) (job.Unit, Fence, error)
	// Renew prolongs a lease. ErrFenced: the unit is another's, it has ended,
	// or cancel of its job was requested; the work is to be broken off.
	Renew(ctx context.Context, f Fence, lease time.Duration) error
	// End ends an attempt: state, counts and parts in one commit, fenced. The
	// parts that e drops lose their record; the caller removes their bytes.
	// ErrErased: see Erasures.
	End(ctx context.Context, f Fence, e job.UnitEnd) error
	// Note notes on a unit, under its fence, what it is to erase in all, and what
	// it did beside that so far. Each call replaces what the last one said.
	Note(ctx context.Context, f Fence, total job.Erased, result json.RawMessage) error
	// Retry replaces a job by its Job.Retry, and puts back all of its units that
	// have not succeeded, in one commit: they are queued, without errors,
	// losses and reason, and those that were claimed before need not wait for a
	// RunAt. Attempts count on, so that no fence from before holds; what was
	// erased and noted stays. It returns the job as it then stands. job.ErrTransition: the job cannot be tried
	// again. ErrLimit: so many others of its kind are under way, counted as
	// Create counts them. Then nothing was written.
	Retry(ctx context.Context, t Tenant, jobID string, now time.Time, l Limit) (job.Job, error)
	// Tally counts the units of a job, and has reasons of those that failed
	// first. One whose lease has run out counts as
	// queued. What was erased it counts of all units, ended or not.
	Tally(ctx context.Context, t Tenant, jobID string) (job.Tally, error)
	// UnitsOf lists up to n units of a job in order of id, those after the given
	// one ("" for the first), as they stand.
	UnitsOf(ctx context.Context, t Tenant, jobID, after string, n int) ([]job.Unit, error)
	// NextRun is the earliest instant at which a unit that cannot be claimed
	// now may be claimable by time alone; zero if there is none.
	NextRun(ctx context.Context, kinds []string) (time.Time, error)
	// Watch returns a channel that gets a value when there may be work, or a
	// cancel, until ctx ends. It is a hint: the channel may miss events.
	Watch(ctx context.Context) <-chan struct{}
}

// Referrers finds who names whom.
type Referrers interface {
	// Referrers returns the ids of resources of a type that, as of at, name one
	// of the targets by a literal relative reference. It may return one twice,
	// and one that does so only since at.
	Referrers(ctx context.Context, t Tenant, at Tick, typ string, targets []fhir.ID) ([]fhir.ID, error)
}

// Finds keeps sets of resources, by id, for as long as the job is kept.
type Finds interface {
	// AddFinds adds resources under the fence of a unit. Adding one again
	// changes nothing.
	AddFinds(ctx context.Context, f Fence, ids []fhir.ID) error
	// Finds lists up to n of them in order of type, then in an order of the
	// store's, those after the given one; the zero ID for the first.
	Finds(ctx context.Context, t Tenant, jobID string, after fhir.ID, n int) ([]fhir.ID, error)
}

// Cohorts keeps sets of patients for as long as the job of that id is kept.
type Cohorts interface {
	// AddMembers adds patients, by id, under the fence of a unit. Adding one
	// again changes nothing.
	AddMembers(ctx context.Context, f Fence, patients []string) error
	// Members lists up to n members in an order of the store's, those after
	// the given one; "" for the first.
	Members(ctx context.Context, t Tenant, c CohortID, after string, n int) ([]string, error)
}

// Parts keeps the records of files. Their bytes are in store/files.
type Parts interface {
	// PartsOf lists parts of a job in order of ID, those after the given ID.
	PartsOf(ctx context.Context, t Tenant, jobID, after string, limit int) ([]job.Part, error)
	// Part returns a public part by its name; ErrNotFound, or ErrGone if it was
	// voided.
	Part(ctx context.Context, t Tenant, jobID string, name job.PartName) (job.Part, error)
	// Voided lists the void parts of a job that are public, in order of ID, so
	// that they can still be named: their bytes are gone or going. Of one that
	// was forgotten there is its place only.
	Voided(ctx context.Context, t Tenant, jobID string) ([]job.Part, error)
	// PartsHolding lists parts with resources of the patient's compartment.
	PartsHolding(ctx context.Context, t Tenant, patient string) ([]job.Part, error)
}

// Store is all of it.
type Store interface {
	Committer
	Reader
	Scanner
	Jobs
	Units
	Referrers
	Finds
	Cohorts
	Parts
	Eraser
	Erasures
	Notices
	Holds
	Certificates
	Ledgers
	// Ping tells whether the store can commit now.
	Ping(ctx context.Context) error
	// Close waits for commits under way, and releases the store.
	Close() error
}
