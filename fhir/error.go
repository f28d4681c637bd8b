package fhir

import (
	"errors"
	"fmt"
)

// Kind says what went wrong in terms that every protocol can render: HTTP as
// a status, a command line as an exit status. The zero Kind is Internal, so
// that an error nobody classified is never shown to a client.
type Kind uint8

// The kinds of error that a client may see.
const (
	Internal      Kind = iota // ours; the client reads "internal error" only
	Invalid                   // the content is wrong: malformed JSON, a bad value
	NotFound                  // there is no such thing, or none of the caller's
	Gone                      // there was, and it was deleted
	Conflict                  // the expected version is not the current one
	Precondition              // a precondition of the request does not hold
	Forbidden                 // the caller may not
	Unauthorized              // the caller is not known
	NotAllowed                // the method does not go with the address
	MediaType                 // the body's media type is not understood
	NotAccept                 // no acceptable form of the answer
	TooLarge                  // the body or the result is over a limit
	Unprocessable             // understood, and against the rules of FHIR
	Throttled                 // too many at once; later it will do
	Transient                 // a passing fault of ours; later it will do
	Unsupported               // known to the standard, not offered here
)

// Code is an issue type of R4 (https://hl7.org/fhir/R4/valueset-issue-type.html).
type Code string

// The issue types that Firebreak uses.
const (
	CodeInvalid       Code = "invalid"
	CodeStructure     Code = "structure"
	CodeRequired      Code = "required"
	CodeValue         Code = "value"
	CodeInvariant     Code = "invariant"
	CodeLogin         Code = "login"
	CodeForbidden     Code = "forbidden"
	CodeProcessing    Code = "processing"
	CodeNotSupported  Code = "not-supported"
	CodeNotFound      Code = "not-found"
	CodeDeleted       Code = "deleted"
	CodeTooLong       Code = "too-long"
	CodeTooCostly     Code = "too-costly"
	CodeConflict      Code = "conflict"
	CodeTransient     Code = "transient"
	CodeNoStore       Code = "no-store"
	CodeException     Code = "exception"
	CodeThrottled     Code = "throttled"
	CodeInformational Code = "informational"
	CodeIncomplete    Code = "incomplete"
)

// kindCodes is the issue type of a kind where the error names none.
var kindCodes = [...]Code{
	Internal: CodeException, Invalid: CodeInvalid, NotFound: CodeNotFound, Gone: CodeDeleted,
	Conflict: CodeConflict, Precondition: CodeConflict, Forbidden: CodeForbidden,
	Unauthorized: CodeLogin, NotAllowed: CodeNotSupported, MediaType: CodeNotSupported,
	NotAccept: CodeNotSupported, TooLarge: CodeTooLong, Unprocessable: CodeProcessing,
	Throttled: CodeThrottled, Transient: CodeTransient, Unsupported: CodeNotSupported,
}

// Error is an error that a client may read. It never holds a resource's body
// or a search value.
type Error struct {
	Kind       Kind
	Code       Code   // "" for the usual one of the kind
	Message    string // one sentence: what is wrong, and what to do next
	Expression string // FHIRPath of where in the resource; "" where unknown
	Err        error  // the cause, for the log; never shown
}

// Errorf makes an Error of a kind with a message for the client.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// With returns a copy that carries an issue type other than the kind's own.
func (e *Error) With(c Code) *Error {
	d := *e
	d.Code = c
	return &d
}

// At returns a copy that says where in the resource, as FHIRPath.
func (e *Error) At(expression string) *Error {
	d := *e
	d.Expression = expression
	return &d
}

// Because returns a copy that carries a cause for the log.
func (e *Error) Because(err error) *Error {
	d := *e
	d.Err = err
	return &d
}

// Error gives the message, and where.
func (e *Error) Error() string {
	if e.Expression != "" {
		return e.Message + " (at " + e.Expression + ")"
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// IssueType is the issue type that an OperationOutcome shows.
func (e *Error) IssueType() Code {
	if e.Code != "" {
		return e.Code
	}
	return kindCodes[e.Kind]
}

// AsError gives the Error within err. One that holds none is Internal, and its
// text is for the log only.
func AsError(err error) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Message: "internal error", Err: err}
}

// KindOf is the kind of err; an error that is none of ours is Internal.
func KindOf(err error) Kind { return AsError(err).Kind }
