package mongo

import (
	"context"
	"errors"
	"fmt"

	"firebreak/store"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
)

// transact runs f in a transaction, as often as it takes: a conflict with
// another, or a change of primary, undoes it and f is run again. An error of
// f's own undoes it for good. f must use the context that it is given. It is
// given up after the time that a change of primary may take.
func (s *Store) transact(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, enduring)
	defer cancel()
	session, err := s.client.StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(context.WithoutCancel(ctx))
	_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		return nil, f(ctx)
	}, options.Transaction().SetReadConcern(readconcern.Snapshot()))
	return err
}

// The codes of errors by which a server says that it does not serve now.
const (
	hostUnreachable        = 6
	hostNotFound           = 7
	networkTimeout         = 89
	shutdownInProgress     = 91
	primarySteppedDown     = 189
	notWritablePrimary     = 10107
	interruptedAtShutdown  = 11600
	interruptedStateChange = 11602
	notPrimaryNoSecondary  = 13435
	notPrimaryOrSecondary  = 13436
	maxTimeExpired         = 50
	outOfDiskSpace         = 14031
	writeConflict          = 112
	namespaceExists        = 48
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
	if mongo.IsNetworkError(err) || mongo.IsTimeout(err) {
		return true
	}
	var server mongo.ServerError
	if !errors.As(err, &server) {
		return false
	}
	if server.HasErrorLabel("TransientTransactionError") || server.HasErrorLabel("RetryableWriteError") || server.HasErrorLabel("UnknownTransactionCommitResult") {
		return true
	}
	for _, code := range []int{
		hostUnreachable, hostNotFound, networkTimeout, shutdownInProgress, primarySteppedDown, notWritablePrimary,
		interruptedAtShutdown, interruptedStateChange, notPrimaryNoSecondary, notPrimaryOrSecondary,
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
