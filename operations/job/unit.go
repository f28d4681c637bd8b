package job

import (
	"encoding/json"
	"time"
)

// Unit is a piece of a job's work that one worker does in one go. Its id
// follows from the plan, so that planning again gives the same units.
type Unit struct {
	Job    string `json:"job"`
	Tenant string `json:"tenant"`
	Kind   string `json:"kind"` // the job's
	ID     string `json:"id"`   // unique within the job; in order of the plan
	// Phase orders the units of a job: one is claimed only after all units of
	// lower phases have succeeded.
	Phase int             `json:"phase"`
	Args  json.RawMessage `json:"args,omitempty"` // in the operation's own words

	State   State     `json:"state"`
	Attempt int       `json:"attempt"` // claims so far, counted on where the job began anew; fences every write
	Errors  int       `json:"errors"`  // attempts that ended in an error
	Lost    int       `json:"lost"`    // attempts whose lease ran out
	RunAt   time.Time `json:"runAt"`   // not before; zero: at once
	Counts  Counts    `json:"counts"`  // of the attempt that succeeded
	Erased  Erased    `json:"erased"`  // by all attempts so far
	Total   Erased    `json:"total"`   // what it is to erase in all, as Note said
	Reason  *Reason   `json:"reason,omitempty"`
	// Result is what it did, in the operation's own words: of Note, then of the
	// end that succeeded.
	Result json.RawMessage `json:"result,omitempty"`
	// Updated is when it was last claimed, noted, erased under, ended or put
	// back, by the store's clock; zero: never.
	Updated time.Time `json:"updated"`
}

// Counts is what a unit did.
type Counts struct {
	Resources int64 `json:"resources,omitempty"`
	Bytes     int64 `json:"bytes,omitempty"`
	Planned   int64 `json:"planned,omitempty"` // bytes that were expected; an estimate
}

// Add gives the sum.
func (c Counts) Add(d Counts) Counts {
	return Counts{c.Resources + d.Resources, c.Bytes + d.Bytes, c.Planned + d.Planned}
}

// Erased is what was removed for good: versions, and resources of which
// nothing is left. Unlike Counts it is true while the work goes on.
type Erased struct {
	Versions  int64 `json:"versions,omitempty"`
	Resources int64 `json:"resources,omitempty"`
}

// Add gives the sum.
func (e Erased) Add(d Erased) Erased {
	return Erased{e.Versions + d.Versions, e.Resources + d.Resources}
}

// How often a unit is tried.
const (
	MaxErrors = 5  // attempts that end in an error
	MaxLost   = 20 // attempts that end with the worker
)

// Poisoned tells whether the unit took so many workers with it that it must
// be given up.
func (u Unit) Poisoned() bool { return u.Lost > MaxLost }

// Exhausted tells whether one more error is the last one allowed.
func (u Unit) Exhausted() bool { return u.Errors+1 >= MaxErrors }

// Backoff is how long to wait before the unit is tried again after one more
// error: half a second, doubled by each, a minute at most.
func (u Unit) Backoff() time.Duration {
	return min(500*time.Millisecond<<min(u.Errors, 10), time.Minute)
}

// UnitEnd is how an attempt at a unit ends. State is Succeeded, Failed (given
// up), or Queued: put back, to be tried from RunAt on.
type UnitEnd struct {
	State  State
	Counts Counts
	Reason *Reason   // for Failed, and for Queued after an error
	Erred  bool      // counts as an error of the unit
	RunAt  time.Time // for Queued
	Parts  []Part    // files that this attempt wrote: Succeeded only
	Drop   []Part    // parts of the job that this attempt replaced
	// Numbers makes parts of the job public: their N by ID.
	Numbers map[string]int
	// Result is what the unit did: Succeeded only. nil leaves what Note said.
	Result json.RawMessage
}

// PartName is what the public knows a file of a job by.
type PartName struct {
	Category Category
	Type     string
	N        int // from 1
}

// Part is a file that a job made: its record. Its bytes are in the file store
// under Name, which carries job, unit and attempt.
type Part struct {
	ID       string   `json:"id"` // unique within the job
	Job      string   `json:"job"`
	Unit     string   `json:"unit"`
	Category Category `json:"category"`
	Type     string   `json:"type"` // of the resources in it
	N        int      `json:"n"`    // its public number within category and type, from 1; 0: not public
	Name     string   `json:"name"`
	Count    int64    `json:"count"` // lines
	Size     int64    `json:"size"`  // bytes
	SHA256   string   `json:"sha256"`
	// Patients are those by whom an erasure finds the part: the patients in whose
	// compartments its resources are, or whom they name, by id; and as "Type/id"
	// resources in it that may be erased with a patient whom they do not name.
	// They are stored as rows and not read back with the part.
	Patients []string `json:"-"`
	// Joins are the IDs of dropped parts whose patients this one has too.
	Joins []string `json:"-"`
}

// Failure is an error of a unit with the reason that a person may read. Any
// other error is shown as an internal one.
type Failure struct {
	Reason    Reason
	Permanent bool // trying again will not help
	Err       error
}

// Error gives the reason and the cause; it is for the log.
func (f *Failure) Error() string {
	if f.Err != nil {
		return f.Reason.Message + ": " + f.Err.Error()
	}
	return f.Reason.Message
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Category is where the manifest lists a part.
type Category string

// The categories of a manifest, and that of a part that is not in it (yet).
const (
	Output  Category = "output"
	Errors  Category = "error"
	Deleted Category = "deleted"
)

// Tally is how far the units of a job are: how many in each state, and what
// the succeeded ones did. It is counted from committed units only.
type Tally struct {
	Queued, Running, Succeeded, Failed, Cancelled int
	Done                                          Counts
	Erased                                        Erased  // by all units, in any state
	Planned                                       int64   // bytes that all units expected
	Reason                                        *Reason // of a failed unit
	LastEnd                                       time.Time

	Attempts, Errors, Lost int          // of all units together
	Reasons                []UnitReason // of units that erred: the first MaxReasons, by unit
}

// MaxReasons is how many reasons a Tally has at most.
const MaxReasons = 10

// UnitReason is why a unit failed, or why its last attempt did.
type UnitReason struct {
	Unit    string `json:"unit"`
	Attempt int    `json:"attempt"`
	Reason
}

// Unfinished is how many units are still to be done.
func (t Tally) Unfinished() int { return t.Queued + t.Running }

// Percent is how much of the work is done, 0 to 100; 100 only when all is.
func (t Tally) Percent() int {
	all := t.Unfinished() + t.Succeeded + t.Failed + t.Cancelled
	switch {
	case all == 0:
		return 0
	case t.Unfinished() == 0:
		return 100
	case t.Planned > 0:
		return int(min(99, 100*t.Done.Planned/t.Planned))
	}
	return min(99, 100*t.Succeeded/all)
}

// Settle is the job after its units stand as the tally says: the same while
// there is work, else succeeded, failed or stopped. It succeeds only if every
// unit did. The tally has to be read after the job, so that a cancel that the
// job knows of has kept units from being claimed since.
func (j Job) Settle(t Tally, now time.Time) (Job, error) {
	switch {
	case j.State.Final():
		return j, nil
	case !j.CancelRequested.IsZero() && t.Running == 0:
		return j.Stop(now)
	case !j.CancelRequested.IsZero():
		return j, nil
	case t.Failed+t.Cancelled > 0 && t.Running == 0:
		why := Reason{Code: "exception", Message: "a unit of the job was not done"}
		if t.Reason != nil {
			why = *t.Reason
		}
		return j.Fail(now, why)
	case t.Failed+t.Cancelled+t.Unfinished() > 0 || t.Succeeded == 0:
		return j, nil
	}
	if j, err := j.Start(now); err != nil {
		return j, err
	} else {
		return j.Succeed(now)
	}
}
