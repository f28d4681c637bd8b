// Package fetch is a client of FHIR Bulk Data Access (STU2 and STU3): it kicks an export off, polls its status and
// downloads its files, from any server.
//
//	client, err := fetch.New(fetch.Config{Base: "https://ehr.example/fhir"})
//	report, err := client.Run(ctx, fetch.Request{Level: fetch.LevelPatients}, "out")
//
// # The directory
//
// A directory holds one export. While it is fetched there are:
//
//	export-state.json    which job it is, and which files it will have
//	NAME.part            the bytes of a file so far
//	NAME.part.json       how many of them are on disk for certain, and of which ETag
//	NAME                 a file that is complete and has been verified
//
// At the end there are the files and manifest.json, byte for byte as the server sent it. Each step is synced before
// the next relies on it, so that a run that was stopped at any point, by a signal or by a power cut, is continued by
// running it again with the same request and directory: the job is polled again, not started again, complete files
// are kept and partial ones are continued with Range and If-Range.
//
// # What is verified
//
// Size and SHA-256, where the manifest states them in the extension fhir.FileIntegrityURL, and the count of
// resources where it states that. A file that differs is deleted and fetched once more; if it differs again the
// run fails. Without a stated checksum a partial file is continued only under a strong ETag.
//
// # Where credentials go
//
// To the scheme, host and port of the server's base only; to files only if the manifest says requiresAccessToken;
// never along with a redirect to another origin.
package fetch
