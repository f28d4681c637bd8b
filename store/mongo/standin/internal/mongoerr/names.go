package mongoerr

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// states maps the SQLSTATEs that the documentdb extension raises to MongoDB's codes and their names, a line each:
// state, code, and the name where it is not Location followed by the code.
//
//go:embed states.txt
var states string

type tables struct {
	codes map[string]int32
	names map[int32]string
}

var load = sync.OnceValue(func() tables {
	t := tables{codes: map[string]int32{}, names: map[int32]string{}}
	for line := range strings.Lines(states) {
		f := strings.Fields(line)
		n, err := strconv.ParseInt(f[1], 10, 32)
		if err != nil {
			continue
		}
		t.codes[f[0]] = int32(n)
		if len(f) > 2 {
			t.names[int32(n)] = f[2]
		}
	}
	for code, name := range ownNames {
		t.names[code] = name
	}
	return t
})

// ownNames are the names of codes that only the gateway gives, or that fail points give most often.
var ownNames = map[int32]string{
	InternalError: "InternalError", BadValue: "BadValue", FailedToParse: "FailedToParse", Unauthorized: "Unauthorized",
	TypeMismatch: "TypeMismatch", IllegalOperation: "IllegalOperation", AlreadyInitialized: "AlreadyInitialized", NamespaceNotFound: "NamespaceNotFound",
	IndexNotFound: "IndexNotFound", CursorNotFound: "CursorNotFound", NamespaceExists: "NamespaceExists",
	MaxTimeMSExpired: "MaxTimeMSExpired", CommandNotFound: "CommandNotFound", InvalidOptions: "InvalidOptions",
	NoReplicationEnabled: "NoReplicationEnabled", ShutdownInProgress: "ShutdownInProgress",
	WriteConflict: "WriteConflict", CommandNotSupported: "CommandNotSupported", TransactionTooOld: "TransactionTooOld",
	SnapshotUnavailable: "SnapshotUnavailable", NoSuchTransaction: "NoSuchTransaction",
	TransactionCommitted: "TransactionCommitted", SnapshotTooOld: "SnapshotTooOld",
	OperationNotSupportedTx: "OperationNotSupportedInTransaction", DuplicateKey: "DuplicateKey",
	PrimarySteppedDown: "PrimarySteppedDown", NotWritablePrimary: "NotWritablePrimary",
	InterruptedByStepDown: "InterruptedDueToReplStateChange", Interrupted: "Interrupted",
	NotPrimaryNoSecondary: "NotPrimaryNoSecondaryOk", 6: "HostUnreachable", 7: "HostNotFound", 24: "LockTimeout",
	64: "WriteConcernFailed", 79: "UnknownReplWriteConcern", 89: "NetworkTimeout", 100: "UnsatisfiableWriteConcern",
	134: "ReadConcernMajorityNotAvailableYet", 262: "ExceededTimeLimit", 9001: "SocketException",
	11600: "InterruptedAtShutdown", 13436: "NotPrimaryOrSecondary",
}

// Name gives the name of a code, Location followed by the code where it has none.
func Name(code int32) string {
	if n, ok := load().names[code]; ok {
		return n
	}
	return fmt.Sprintf("Location%d", code)
}

// ofState gives the code of a SQLSTATE of the extension.
func ofState(state string) (int32, bool) {
	c, ok := load().codes[state]
	return c, ok
}
