package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	xdriver "go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"
)

// transact runs f in a transaction, as often as it takes: a conflict with
// another, or a change of primary, undoes it and f is run again. An error of
// f's own undoes it for good. f must use the context that it is given.
//
// The driver's WithTransaction is not used: it goes on for two minutes, and
// through the end of ctx, while there is no primary.
func (s *Store) transact(ctx context.Context, f func(ctx context.Context) error) error {
	return s.transactUntil(ctx, time.Now().Add(enduring), f)
}

// transactUntil is transact, which begins nothing again after the instant.
func (s *Store) transactUntil(ctx context.Context, end time.Time, f func(ctx context.Context) error) error {
	session, give, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer give()
	for retry := (backoff{}); ; {
		err := once(ctx, session, end, f)
		if !hasLabel(err, transientTransaction) && !cleared(err) && !hasCode(err, startedAlready) || away(err) || time.Now().After(end) || !retry.wait(ctx) {
			return err
		}
	}
}

// once runs f in a transaction. A commit whose result is unknown is sent again,
// which is what tells the result; where it does not, that is ErrTransient.
func once(ctx context.Context, session *mongo.Session, end time.Time, f func(ctx context.Context) error) error {
	if err := settle(ctx, session); err != nil {
		return err
	}
	if err := session.StartTransaction(options.Transaction().SetReadConcern(readconcern.Snapshot())); err != nil {
		return err
	}
	in := mongo.NewSessionContext(ctx, session)
	if err := f(in); err != nil {
		undo(in, session)
		return err
	}
	for retry := (backoff{}); ; {
		err := session.CommitTransaction(in)
		if err == nil || hasLabel(err, transientTransaction) {
			return err
		}
		if !hasLabel(err, unknownCommit) || away(err) || time.Now().After(end) || !retry.wait(ctx) {
			return transientError(err)
		}
	}
}

// undo aborts a transaction, whatever became of ctx. What cannot be undone now
// is undone by the session's next transaction, or by the server in a minute.
func undo(ctx context.Context, session *mongo.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_ = session.AbortTransaction(ctx)
}

// release ends a session, and what is open in it.
func release(session *mongo.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	session.EndSession(ctx)
}

// settle has a session leave its last transaction. The driver keeps it there
// when the commit timed out, until the commit was sent again and answered, in
// whatever way.
func settle(ctx context.Context, session *mongo.Session) error {
	if !session.TransactionRunning() {
		return nil
	}
	if err := session.CommitTransaction(ctx); session.TransactionRunning() {
		return err
	}
	return nil
}

// The labels of errors that say what may be done again.
const (
	transientTransaction = "TransientTransactionError"
	unknownCommit        = "UnknownTransactionCommitResult"
	retryableWrite       = "RetryableWriteError"
)

func hasLabel(err error, label string) bool {
	var labelled mongo.LabeledError
	return errors.As(err, &labelled) && labelled.HasErrorLabel(label)
}

// cleared tells that nothing was sent, as an error of another call has shown
// that the server went away.
func cleared(err error) bool {
	var pool xdriver.RetryablePoolError
	return errors.As(err, &pool) && pool.Retryable()
}

// away tells that there was no primary for as long as a call waits for one.
func away(err error) bool {
	var selection topology.ServerSelectionError
	return errors.As(err, &selection)
}

// gone tells that, or that a call which began at the instant has waited as long:
// of a read that the driver sends again it gives the error of the first time.
func gone(err error, began time.Time) bool {
	return away(err) || time.Since(began) >= selection
}

// The codes of errors by which a server says that it does not serve now.
const (
	hostUnreachable        = 6
	hostNotFound           = 7
	networkTimeout         = 89
	shutdownInProgress     = 91
	primarySteppedDown     = 189
	notWritablePrimary     = 10107
	interrupted            = 11601 // another ended the session
	interruptedAtShutdown  = 11600
	interruptedStateChange = 11602
	notPrimaryNoSecondary  = 13435
	notPrimaryOrSecondary  = 13436
	writeConcernTimeout    = 64
	majorityNotAvailable   = 134
	snapshotUnavailable    = 246
	exceededTimeLimit      = 262
	maxTimeExpired         = 50
	outOfDiskSpace         = 14031
	cannotBuildIndexKeys   = 201 // a document has more than the server gives an index: 100,000
	objectTooLarge         = 10334
	writeConflict          = 112
	namespaceExists        = 48
	startedAlready         = 50911 // the first command of a transaction was sent twice
)

// failed is what a method answers for an error: the context's own where that
// is the cause, else what the contract calls it.
func failed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return classified(err)
}

// classified marks an error of the server as the contract's, where it has one.
func classified(err error) error {
	switch {
	case hasCode(err, outOfDiskSpace):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case transient(err):
		return transientError(err)
	}
	return err
}

func transientError(err error) error { return fmt.Errorf("%w: %w", store.ErrTransient, err) }

func orContext(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// transient tells whether the same call may go through later.
func transient(err error) bool {
	if mongo.IsNetworkError(err) || mongo.IsTimeout(err) || away(err) || cleared(err) {
		return true
	}
	var server mongo.ServerError
	if !errors.As(err, &server) {
		return false
	}
	if server.HasErrorLabel(transientTransaction) || server.HasErrorLabel(retryableWrite) || server.HasErrorLabel(unknownCommit) {
		return true
	}
	for _, code := range []int{
		hostUnreachable, hostNotFound, networkTimeout, shutdownInProgress, primarySteppedDown, notWritablePrimary,
		interrupted, interruptedAtShutdown, interruptedStateChange, notPrimaryNoSecondary, notPrimaryOrSecondary,
		writeConcernTimeout, majorityNotAvailable, snapshotUnavailable, exceededTimeLimit, startedAlready,
	} {
		if server.HasErrorCode(code) {
			return true
		}
	}
	return false
}

// hasCode tells whether a server answered with the code.
func hasCode(err error, code int) bool {
	var server mongo.ServerError
	return errors.As(err, &server) && server.HasErrorCode(code)
}

// field is the value of a document with one member.
func field(name string, value any) bson.D { return bson.D{{Key: name, Value: value}} }
