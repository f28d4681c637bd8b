// Package mongoerr holds MongoDB's errors as a server reports them: a code, its name, a message and labels.
package mongoerr

import (
	"errors"
	"fmt"
	"slices"

	"mongodb-standin/internal/bsonx"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// Codes that the gateway itself gives.
const (
	InternalError           int32 = 1
	BadValue                int32 = 2
	FailedToParse           int32 = 9
	Unauthorized            int32 = 13
	TypeMismatch            int32 = 14
	IllegalOperation        int32 = 20
	AlreadyInitialized      int32 = 23
	NamespaceNotFound       int32 = 26
	IndexNotFound           int32 = 27
	CursorNotFound          int32 = 43
	NamespaceExists         int32 = 48
	MaxTimeMSExpired        int32 = 50
	CommandNotFound         int32 = 59
	InvalidOptions          int32 = 72
	NoReplicationEnabled    int32 = 76
	ShutdownInProgress      int32 = 91
	WriteConflict           int32 = 112
	CommandNotSupported     int32 = 115
	TransactionTooOld       int32 = 225
	SnapshotUnavailable     int32 = 246
	NoSuchTransaction       int32 = 251
	TransactionCommitted    int32 = 256
	OperationNotSupportedTx int32 = 263
	SnapshotTooOld          int32 = 239
	DuplicateKey            int32 = 11000
	PrimarySteppedDown      int32 = 189
	NotWritablePrimary      int32 = 10107
	InterruptedByStepDown   int32 = 11602
	Interrupted             int32 = 11601
	NotPrimaryNoSecondary   int32 = 13435
	ChangeStreamsNeedOplog  int32 = 40573
)

// Labels by which a driver decides what may be tried again.
const (
	TransientTransaction = "TransientTransactionError"
	UnknownCommitResult  = "UnknownTransactionCommitResult"
	RetryableWrite       = "RetryableWriteError"
)

// Error is an error that a client sees.
type Error struct {
	Code    int32
	Message string
	Labels  []string
	// Extra holds further fields of the answer, for example keyPattern.
	Extra bsoncore.Document
	// CloseConnection asks the server to hang up instead of answering.
	CloseConnection bool
}

// New makes an Error from a code and a formatted message.
func New(code int32, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Label adds a label, once, and returns the error itself.
func (e *Error) Label(label string) *Error {
	if !slices.Contains(e.Labels, label) {
		e.Labels = append(e.Labels, label)
	}
	return e
}

// Error gives the message with the code's name.
func (e *Error) Error() string { return fmt.Sprintf("(%s) %s", Name(e.Code), e.Message) }

// As turns any error into an Error; one that is not meant for clients becomes an InternalError with its text, which
// in a test server is more useful than hidden.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(InternalError, "%v", err)
}

// Document is the answer that reports the error.
func (e *Error) Document() bsoncore.Document {
	return bsonx.Doc(func(dst []byte) []byte {
		dst = bsoncore.AppendDoubleElement(dst, "ok", 0)
		dst = bsoncore.AppendStringElement(dst, "errmsg", e.Message)
		dst = bsoncore.AppendInt32Element(dst, "code", e.Code)
		dst = bsoncore.AppendStringElement(dst, "codeName", Name(e.Code))
		bsonx.Each(e.Extra, func(_ string, el bsoncore.Element) { dst = append(dst, el...) })
		return AppendLabels(dst, e.Labels)
	})
}

// AppendLabels adds the field errorLabels, unless there is none to add.
func AppendLabels(dst []byte, labels []string) []byte {
	if len(labels) == 0 {
		return dst
	}
	vs := make([]bsoncore.Value, len(labels))
	for i, l := range labels {
		vs[i] = bsoncore.Value{Type: bsoncore.TypeString, Data: bsoncore.AppendString(nil, l)}
	}
	return bsoncore.AppendArrayElement(dst, "errorLabels", bsoncore.BuildArray(nil, vs...))
}

// retryable are the codes after which a driver may send a write again: the server's state changed or went away.
var retryable = map[int32]bool{
	6: true, 7: true, 89: true, 91: true, 134: true, 189: true, 262: true, 9001: true,
	10107: true, 11600: true, 11602: true, 13435: true, 13436: true,
}

// TellsState says whether a code is about the server's state: not primary, or shutting down.
func TellsState(code int32) bool {
	switch code {
	case ShutdownInProgress, PrimarySteppedDown, 10058, NotWritablePrimary, 11600, InterruptedByStepDown,
		NotPrimaryNoSecondary, 13436:
		return true
	}
	return false
}

// IsRetryable says whether a code tells a driver that the same command may succeed on another try.
func IsRetryable(code int32) bool { return retryable[code] }
