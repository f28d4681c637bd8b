// Package fhirhttp is how FHIR speaks HTTP (https://hl7.org/fhir/R4/http.html):
// media types, Prefer, versions as ETags, errors as OperationOutcomes, the
// absolute base URL, and what is done with every request before it is routed.
//
// It does not know what is asked for. A server calls Install once; its routes
// use the rest. A handler returns its error, and this package renders it.
package fhirhttp
