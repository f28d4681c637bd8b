package fetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"firebreak/fhir"
)

// ErrNotFinished is what Verify answers for a directory without a manifest.
var ErrNotFinished = errors.New("there is no " + ManifestName + ": the export was not fetched to its end")

// Verify checks a fetched export against its manifest, without a network: each
// file is there, has as many bytes and lines and the sha-256 that the manifest
// states, and no other file lies beside them. It returns what it read, and one
// error for each file that is not as it should be; of a file of which the
// manifest states nothing, that is one too.
func Verify(dir string) (Report, []error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, []error{err}
	}
	f := folder{root}
	defer func() { _ = f.Close() }()
	items, m, err := manifestItems(f)
	if err != nil {
		return Report{}, []error{err}
	}
	var wrong []error
	var files []FileReport
	for _, it := range items {
		sum, err := it.verify(f)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		files = append(files, FileReport{it.section, it.Type, it.name, sum.resources(), sum.size})
	}
	wrong = append(wrong, strangers(f, items)...)
	return Report{TransactionTime: m.TransactionTime, Types: sum(files), Files: files}, wrong
}

func manifestItems(f folder) ([]item, fhir.Manifest, error) {
	var m fhir.Manifest
	data, err := f.read(ManifestName)
	switch {
	case err != nil:
		return nil, m, err
	case data == nil:
		return nil, m, ErrNotFinished
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, m, fmt.Errorf("%s cannot be read: %w", ManifestName, err)
	}
	items, err := plan(Completed{Manifest: m, StatusURL: "http://its.server/"}) // names alone matter here
	return items, m, err
}

func (it item) verify(f folder) (*digest, error) {
	if it.integrity() == nil {
		return nil, fmt.Errorf("%s cannot be verified: the manifest states no sha-256 of it", it.name)
	}
	sum, err := digestOf(f, it.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing", it.name)
	}
	if err != nil {
		return nil, err
	}
	return sum, it.check(sum)
}

// strangers names what the manifest does not.
func strangers(f folder, items []item) []error {
	known := map[string]bool{ManifestName: true}
	for _, it := range items {
		known[it.name] = true
	}
	entries, err := fs.ReadDir(f.FS(), ".")
	if err != nil {
		return []error{err}
	}
	var wrong []error
	for _, e := range entries {
		if !known[e.Name()] {
			wrong = append(wrong, fmt.Errorf("%s is not in the manifest", e.Name()))
		}
	}
	return wrong
}
