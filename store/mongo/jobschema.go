package mongo

import "go.mongodb.org/mongo-driver/v2/bson"

// holders is a collection: one document for each patient that a part has
// resources of. They are not in the part, as a part may have any number.
const holders = "part_patient"

// The names of the indexes of jobs and of what belongs to them.
const (
	byKey     = "key"
	byOwner   = "owner"
	byOpen    = "open"
	byDiscard = "discard"
	byState   = "state"
	byStage   = "stage"
	byTodo    = "todo"
	byPlanner = "planner"
	byNumber  = "number"
	byHolder  = "holder"
	byUntil   = "until"
	byJob     = "job"
)

// jobIndexes are those of jobs and of what belongs to them. All that is listed
// or removed with a job goes by _id, see key.
func jobIndexes() []index {
	return []index{
		// Two jobs never have one idempotency key: Create looks it up, and is
		// refused here if another instance was faster.
		{collection: jobs, name: byKey, keys: ascending("tenant", "client", "user", "kind", "idem"), unique: true, only: exists("idem")},
		// List reads one page of it, however many jobs the owner dismissed.
		{
			collection: jobs, name: byOwner, keys: append(ascending("tenant", "client", "user"), bson.E{Key: "job", Value: -1}),
			only: field("dismissed", false),
		},
		// Create counts in it what is under way, and Claim begins with it: what
		// it costs follows the jobs that are under way.
		{collection: jobs, name: byOpen, keys: ascending("kind", "tenant", "client", "user"), only: isOpen()},
		// Attend reads what is to be stopped, or due, and of the others only what
		// is under way.
		{collection: jobs, name: byDiscard, keys: ascending("discard_at", "cancel", "job")},
		// CountJobs reads it in order, so that the first of a group is the oldest.
		{collection: jobs, name: byState, keys: ascending("kind", "state", "job")},
		// Claim takes the first of a stage and a state that is ready, NextRun the
		// first that is not. Units that have ended are not in it.
		{collection: units, name: byStage, keys: ascending("stage", "state", "ready", "job", "id"), only: field("open", true)},
		// End finds in it the lowest phase that is not done, without passing
		// over the units that are.
		{collection: units, name: byTodo, keys: ascending("of", "phase"), only: field("todo", true)},
		// Add and End drop by it what an earlier attempt planned.
		{collection: units, name: byPlanner, keys: ascending("planner", "planned_in")},
		// Part finds a public part by it, and no two have one public name.
		{
			collection: parts, name: byNumber, keys: ascending("of", "category", "type", "n"), unique: true,
			only: field("n", bson.D{{Key: "$gt", Value: 0}}),
		},
		// PartsHolding reads it.
		{collection: holders, name: byHolder, keys: ascending("holder", "part")},
		// End looks in it whether a patient was announced since.
		{collection: erasures, name: byHolder, keys: ascending("holder", "number")},
		// Untell removes by it what has expired.
		{collection: notices, name: byUntil, keys: ascending("until")},
		// Erase looks in it whether a patient is held.
		{collection: heldOnes, name: byHolder, keys: ascending("holder")},
		// Certificate finds by it, and no job has two.
		{collection: certified, name: byJob, keys: ascending("of"), unique: true},
	}
}

// isOpen selects jobs that are under way: not ended, and not being cancelled.
func isOpen() bson.D {
	return bson.D{{Key: "discard_at", Value: int64(0)}, {Key: "cancel", Value: false}}
}

func ascending(fields ...string) bson.D {
	var d bson.D
	for _, f := range fields {
		d = append(d, bson.E{Key: f, Value: 1})
	}
	return d
}
