package interaction

import (
	"errors"

	"firebreak/fhir"
	"firebreak/store"
)

func errNotFound() error {
	return fhir.Errorf(fhir.NotFound, "there is no such resource")
}

// explain words an error of the store for a client. Store errors stay within
// it, so that errors.Is finds them. What is not known is Internal.
func explain(err error) error {
	for _, known := range []struct {
		is   error
		says *fhir.Error
	}{
		{store.ErrNotFound, fhir.Errorf(fhir.NotFound, "there is no such resource")},
		{store.ErrConflict, fhir.Errorf(fhir.Conflict, "the resource was written by someone else meanwhile, or twice in one request")},
		{store.ErrTooLarge, fhir.Errorf(fhir.TooLarge, "this is more than can be stored at once").With(fhir.CodeTooCostly)},
		{store.ErrFull, fhir.Errorf(fhir.Transient, "the server has no space left; nothing was written").With(fhir.CodeNoStore)},
		{store.ErrTransient, fhir.Errorf(fhir.Transient, "the database does not answer now; whether this was done is not known, so look before you try again")},
		{store.ErrClosed, fhir.Errorf(fhir.Transient, "the server is shutting down; try again")},
	} {
		if errors.Is(err, known.is) {
			return known.says.Because(err)
		}
	}
	return err
}
