package export_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"firebreak/fhir/selection"
)

func TestASweepRemovesWhatNothingNamesAndNothingElse(t *testing.T) {
	w := newWorld(t, tiny)
	w.fill()
	r := w.run(asked{level: selection.System})
	folder := string(tenant) + "." + r.job.ID
	for _, name := range []string{
		folder + "/1-scan-000001.7.000001.Patient.ndjson",
		folder + "/1-scan-000001.8.000001.Patient.ndjson.begun",
		string(tenant) + ".01GONE/1-scan-000001.1.000001.Patient.ndjson",
	} {
		path := filepath.Join(w.dir, "files", name)
		w.ok("make a folder", os.MkdirAll(filepath.Dir(path), 0o700))
		w.ok("write", os.WriteFile(path, []byte("{}\n"), 0o600))
	}
	w.ok("sweep", w.export().Sweep(context.Background()))
	w.onlyItsFiles(r)
}
