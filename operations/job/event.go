package job

// Act is what someone did with a job, or with a hold.
type Act string

// The acts that are recorded.
const (
	KickedOff  Act = "kickoff"  // asked for a job
	Downloaded Act = "download" // was sent a file of it
	Dismissal  Act = "cancel"   // cancelled it if it was under way, and had it removed
	Retried    Act = "retry"    // had what was not done of a failed one tried again
	Purged     Act = "purge"    // erased all that it was to erase
	Expiry     Act = "expiry"   // its time is over, and its files go
	// Of holds, which are no jobs.
	HoldSet    Act = "hold" // set one
	HoldLifted Act = "lift" // ended it
)

// Event is an act, for the record. It holds no content of a resource and no
// value that was searched for.
type Event struct {
	Act    Act
	Tenant string
	By     Owner  // who did it; the zero Owner is the server itself
	Job    string // its id; "" where it did not come to one
	Kind   string // of the job; "hold" of an act on a hold
	Hold   string // the id of the hold
	On     string // what the hold is on, as in "Patient/x"
	Path   string // of a kick-off, below the FHIR base, or beside it, and without a query
	File   string // of a download
	// Resumed: the download begins after the first byte of the file. It is
	// recorded only if no download of the file by the same owner was.
	Resumed bool
	// Refused: it was not done; Detail says why, in the server's words.
	Refused bool
	Detail  string
}
