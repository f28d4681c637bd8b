// Package fhir holds the words of FHIR R4 (4.0.1) that the rest of Firebreak
// speaks: resources as their bytes, identities, references, dates, ndjson,
// the manifest of a bulk export, OperationOutcome and the kinds of error.
//
// It knows no database, no clock, no file, no user and no HTTP.
package fhir
