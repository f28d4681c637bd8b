package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/sample"
	"firebreak/operations/fetch"
)

// demoCommand is "firebreak demo".
type demoCommand struct {
	Count int    `help:"How many patients to make." default:"30" placeholder:"N"`
	Seed  uint64 `help:"Other patients for another seed." default:"1" placeholder:"N"`
	Keep  string `help:"Folder to leave data and files in; without it they are removed." type:"path" placeholder:"DIR"`
}

// Run is command.
func (c *demoCommand) Run(ctx context.Context, s streams) (err error) {
	dir := c.Keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "firebreak-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	step := func(format string, args ...any) { _, _ = fmt.Fprintf(s.out, "\n# "+format+"\n", args...) }

	made := filepath.Join(dir, "patients.ndjson")
	step("make %d synthetic patients", c.Count)
	if err := c.makePatients(made); err != nil {
		return err
	}
	data := storage{Data: filepath.Join(dir, "data")}
	step("firebreak load --data %s %s", data.Data, made)
	if err := (&loadCommand{storage: data, MaxResource: 32 << 20, Paths: []string{made}}).Run(ctx, s); err != nil {
		return err
	}
	step("firebreak serve --data %s --listen 127.0.0.1:0", data.Data)
	return c.serveAndExport(ctx, s, data, filepath.Join(dir, "export"), step)
}

// makePatients writes the sample to a file.
func (c *demoCommand) makePatients(path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	err = sample.Write(func(resource []byte) error {
		_, err := w.Write(append(resource, '\n'))
		return err
	}, c.Count, c.Seed)
	return errors.Join(err, w.Flush())
}

func (c *demoCommand) serveAndExport(ctx context.Context, s streams, data storage, out string, step func(string, ...any)) (err error) {
	srv, err := NewServer(ctx, serving{
		storage: data, Listen: "127.0.0.1:0", MaxResource: 32 << 20, Grace: time.Second,
	}, newLog(s.err, "warn", "text"))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- srv.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-served, srv.Close())
	}()
	_, _ = fmt.Fprintf(s.out, "serving %s\n", srv.Base())

	step("firebreak export --server %s --group %s --out %s", srv.Base(), sample.GroupFirst10, out)
	client, err := fetch.New(fetch.Config{HTTP: http.DefaultClient, Base: srv.Base(), Now: time.Now, NewKey: newID})
	if err != nil {
		return err
	}
	report, err := client.Run(ctx, fetch.Request{Level: fetch.LevelGroup, Group: sample.GroupFirst10}, out)
	if err != nil {
		return err
	}
	printReport(s, report)
	files, err := verify(out)
	if err == nil {
		err = c.expect(out)
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(s.out, "\nAll %d files have the count and the sha-256 that the manifest says.\n", files)
	return client.Delete(ctx, report.StatusURL)
}

// expect checks that the patients of the group came, and no others.
func (c *demoCommand) expect(out string) error {
	b, err := os.ReadFile(filepath.Join(out, "1.Patient.ndjson"))
	if err != nil {
		return err
	}
	want := min(c.Count, 10)
	for i := range want {
		if !bytes.Contains(b, []byte(`"id":"`+sample.PatientID(c.Seed, i)+`"`)) {
			return fmt.Errorf("patient %d of the group is not in the export", i+1)
		}
	}
	if n := bytes.Count(b, []byte{'\n'}); n != want {
		return fmt.Errorf("the export has %d patients, and the group %d", n, want)
	}
	return nil
}

// verify checks each file of a downloaded export against its manifest.json,
// apart from the code that downloaded it.
func verify(dir string) (files int, err error) {
	b, err := os.ReadFile(filepath.Join(dir, fetch.ManifestName))
	if err != nil {
		return 0, err
	}
	var m fhir.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return 0, err
	}
	for _, f := range append(append(m.Output, m.Deleted...), m.Error...) {
		name := path.Base(f.URL)
		lines, sum, err := digest(filepath.Join(dir, name))
		switch {
		case err != nil:
			return files, err
		case f.Count == nil || f.Extension == nil || f.Extension.Integrity == nil:
			return files, fmt.Errorf("the manifest does not say count and sha-256 of %s", name)
		case lines != *f.Count:
			return files, fmt.Errorf("%s has %d lines; the manifest says %d", name, lines, *f.Count)
		case sum != f.Extension.Integrity.SHA256:
			return files, fmt.Errorf("%s is not what the manifest's sha-256 says", name)
		}
		files++
	}
	return files, nil
}

// digest counts the lines of a file and hashes its bytes.
func digest(path string) (lines int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		_, _ = h.Write(buf[:n]) // a hash's Write has no error
		if errors.Is(err, io.EOF) {
			return lines, hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return 0, "", err
		}
	}
}
