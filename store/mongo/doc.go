// Package mongo is the store in MongoDB 7 or 8: a replica set, and any number
// of instances over one database.
//
// # What a client of the driver is set to
//
// Writes are acknowledged by a majority, from its journals. Reading is from
// the primary, of what a majority has; scans and barriers read what the primary
// has (see local). A call waits 10 s for a primary to be chosen. The pool is the
// driver's (100 connections a server, or maxPoolSize of the URI) and one more
// for the change stream; an instance uses one for each call that is under way
// and one for each tenant that is written to. What the server
// says that it cannot do now is store.ErrTransient.
//
// # Documents
//
// A version is one document of the collection version, written once and never
// moved: closing it sets one number. Its _id is its key: tenant, type, tick,
// lane and place in the commit, in 16 bytes. So a tenant's resources of one
// type lie together, an instant is a place in them, "as of T" and "changed
// since" are ranges of _id, and what a scan has passed never comes again. The
// body is binary, byte for byte. The indexes are few, and none of them ever
// moves an entry:
//
//	_id        scans, and the place of everything
//	resource   tenant, type and id, then versionId downwards: reading by id,
//	           history, and the guard that no versionId is written twice
//	patient    in whose compartment: a cohort costs what the cohort has
//	reference  who names a thing
//	tombstone  deletions, without reading what was not deleted
//
// The last three hold closed versions too, as what a version names never
// changes: that is how a question as of a past T is answered without opening
// bodies. extent says about how many bytes lie where (see granule).
//
// # Lanes
//
// Writers do not wait for each other. Each instance commits to each tenant
// through a lane of its own, a document of the collection lane, and its
// commits there are serial. A commit is one transaction: its first write moves
// the lane to
//
//	at = max(server's clock, at+1, floor+1, from+1 of each version it replaces)
//
// and leaves the commit's id there; then it closes what it replaces and
// inserts what is new, with from = at. Requests that wait together are
// committed together. Whoever opens or ends a lane increments the tenant's
// generation in the same transaction.
//
// What a commit replaces is read before the transaction. If another has
// written the same resource since, either closing finds fewer open versions
// than it should, or inserting the next versionId meets the unique index: the
// transaction is undone, and another plan is made. A new resource is guarded
// by the same index.
//
// A Put that changes nothing is answered only after a transaction that writes
// the lane has seen that the version is still the current one.
//
// A commit whose result is unknown is done again with the same id, and moves
// the lane only if the lane's last commit does not have that id. The lane's
// document is written by each, so the two conflict, and one at most is
// committed. When the lane has the id, the answer is there: tick and places
// follow from it.
//
// # The barrier
//
// Barrier (1) reads the tenant's generation; (2) reads its open lanes and
// takes T, a multiple of the round, no less than the server's clock, than the
// tenant's clock and than every lane's at; (3) raises the floor of each of
// those lanes to T, by a plain update that a majority acknowledges and that
// returns the lane's at, and if one is later, raises T to it and all floors
// once more, whatever their at is by then; (4) writes T as the tenant's clock if
// the generation is still that of (1). Else it starts again. Both (3) and (4)
// count, so that they are writes where nothing else changes: a primary that was
// deposed acknowledges for a majority what changes nothing.
//
// Every commit acknowledged before the call is ≤ T and visible. If its lane is
// still open, the first raise of (3) returns an at no less than the commit's,
// whatever (2) read: of a primary that was deposed, (2) may read the past, but
// no majority acknowledges a write to it. If its lane was ended, ending moved
// its at into the tenant's clock, and if (1) read a clock of before that, (4)
// finds another generation.
//
// No commit ≤ T appears after the barrier has returned. Take a commit that
// becomes visible later, through a lane L.
//
// L was open at (2): its floor was raised to T at (3). The raise and the
// commit's move write the same document, so one is before the other. If the
// raise is first, the move reads floor ≥ T, as a transaction whose snapshot is
// older is undone by the conflict; so the commit is later than T. If the move
// is first, the plain update waits for the transaction's end, which is before
// the barrier's: the commit does not become visible later.
//
// L was opened after (2) read the lanes, or was not seen: opening increments
// the generation and reads the tenant's clock in one transaction. If it was
// committed between (1) and (4), (4) finds another generation and starts
// again. If it was committed after (4), its write of the tenant's document
// came after (4)'s, or it would have been undone; so it reads a clock ≥ T, and
// takes it as its floor.
//
// L was ended: a move on it matches nothing, so no commit of it appears at
// all.
//
// The argument takes nothing from clocks: they only make T look like the time.
// A clock that jumps, forwards or back, makes ticks that are wrong as times
// and right in order.
//
// An instance that dies within a transaction holds its lane's document until
// the server's limit of a minute. A barrier that waits for longer than a
// second looks whether the instance still says every two seconds that it is
// there; after six it kills the session, which undoes the transaction, and
// ends the lane. One that has waited for 20 s, which no commit is tried for,
// does so whatever the instance says. An instance that was only asleep finds its
// lane ended, asks whether its last commit is there, and opens another.
//
// What else such an instance holds are versions, which a writer waits for, and
// jobs. So each instance looks every two seconds whether another has been
// silent for six, and ends its lanes and the sessions of its transactions,
// which the other's document names.
//
// # Jobs
//
// A job, a unit, a member, a find and a part are a document each. Every write
// under a fence also writes the job's document, so that nothing is written
// once a job's end was acknowledged.
//
// # How idle instances hear of work
//
// They look for it once a second, by queries that indexes answer. Where the
// server has change streams they hear of it sooner: while anybody watches, a
// Store holds one stream of the database, cut down by the server to what may
// mean work, and to the tokens of that; no content travels. A stream that
// breaks is opened again, which hints once, as something may have been missed.
// A server that refuses the first one for good is not asked again. The stream
// is a hint and nothing depends on it: the looking goes on beside it, as a
// lease ends without a change. It has run against answers that follow MongoDB's
// documentation, given in the place of a server that has none, and never
// against a real mongod.
//
// # Erasures
//
// Erasing deletes documents of version in a transaction under a fence, with
// the counts in the unit's document. What a commit replaces it writes, so a
// commit and an erasure of one version conflict: the one that is undone makes
// another plan, or finds the version replaced. A resource that is erased whole
// has a current version among what is deleted, and any commit to the resource
// closes that one; so none can add a version that the erasure has not seen.
// Keys hold the tick of a lane, which only goes up: none is used again.
//
// A commit of a resource that was not there when it was planned replaces
// nothing. The index keeps it from writing version 1 if another was faster,
// unless version 1 of that other has been replaced and erased since: a gap.
// Then it would write a second current version. So whoever is about to erase a
// first version and to leave later ones counts up the gaps of the tenant
// before, and then of all its open lanes, by plain updates, which wait for
// commits under way; a lane that opens begins with its tenant's. A commit that
// finds gaps in the lane that it moves looks, within its transaction, whether
// what it creates is there. Take a commit that creates what the erasure leaves
// without its beginning:
//
//   - It moved its lane before the count. Then it was over before the erasure
//     began, and the first version of the other stood in its way.
//   - It moved its lane after the count, or the lane was opened after it. Then
//     it looks, in a snapshot of after the count, and finds what is left.
//
// What was planned does not matter to this, nor how old what the plan read is.
//
// That no part ends with what is announced as erased must not be lost to write
// skew: an end that reads no announcement, and an announcement that sees no
// part, each true to its own snapshot. So both write one document, that of the
// tenant in erasing: Announce and Void count number up, and the end of a unit
// with parts that hold patients counts ends up. Of two such transactions the
// later one to write is undone, or began after the other was committed:
//
//   - If the end comes first, its parts are there for Void, which is later
//     than Announce.
//   - If Announce or Void comes first, the end reads number, and the
//     announcements after the number that its unit was claimed under. It finds
//     the patient, and is refused.
//
// A claim reads number in its own transaction, without writing. Another
// announcement may be committed beside it; then the unit counts as claimed
// before, though its worker began to read after. It is refused once for
// nothing. It never counts as claimed after an announcement that was not
// committed when its worker began.
//
// A part that is voided and one that is joined or dropped meanwhile are one
// document that both write. What went with its job leaves its number in the
// tenant's document, before it goes: ends of units that were claimed before
// are refused whomever they hold.
//
// Void also writes the document of each job that begins anew, and its units and
// parts in the same transaction. What is done of the job beside it conflicts;
// what comes later finds its unit put back. Whom the dropped parts held is on
// record still, as that may be millions of documents: it is read only together
// with the part, and an end that writes a part of the same name removes it
// first.
//
// The tenant's document of the clock has no part in this, as a barrier would
// wait for ends. Ends of one tenant with patients come one after the other. An
// end writes some documents and is done in milliseconds, and an export has a
// few of them in a second; those that meet are tried again, see transact.
//
// # Holds
//
// A hold must stop each erasure that is committed after it was acknowledged, and
// erasures must not wait for each other on its account. An erasure looks for
// holds in its transaction, and has written the document of its job by then, as
// every write under a fence does. SetHold (1) writes whom the hold is on, and
// then the hold, by plain writes; (2) writes the documents of all jobs of the
// tenant that have not ended, by a plain update, which waits for transactions
// under way; and returns. Take an erasure whose snapshot has not the hold. Its
// job was there in that snapshot, so it was before (1), and (2) finds it, if it
// has not ended:
//
//   - The erasure had written the job before (2) did. Then (2) waited for its
//     end: it was committed before the hold was acknowledged, or never.
//   - It writes the job after (2). Then its snapshot is older than what it
//     writes, and it is undone, and run again with the hold in its snapshot.
//
// If (2) finds that the job has ended, the erasure is undone by the same
// conflict. If (2) finds nothing to write, a primary may have answered that was
// deposed meanwhile; but it was not before (1) was done (see abreast), so a
// later one has the hold in all its snapshots, and what was under way at the
// former is undone.
//
// # What is not there
//
// A scan tells by its instant whether what answers lacks anything. Mentions and
// Versions have none: they write before they read, which only a primary can do
// that a majority follows, and read what the primary has (see abreast). Residue
// reads in transactions that also write (see seen). What Erase is to erase it
// finds in the transaction that erases it.
package mongo
