package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firebreak/fhir/sample"
	"firebreak/operations/fetch"
	"firebreak/store/mongo"
)

// demoCommand is "firebreak demo".
type demoCommand struct {
	Count int    `help:"How many patients to make." default:"30" placeholder:"N"`
	Seed  uint64 `help:"Other patients for another seed." default:"1" placeholder:"N"`
	Keep  string `help:"Folder to leave data and files in; without it they are removed, and so is the database of --store." type:"path" placeholder:"DIR"`
	Store string `help:"MongoDB replica set to use, such as mongodb://HOST:27017/firebreak?replicaSet=rs0: a new database beside the one that this names. Without it, SQLite." placeholder:"URI"`
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
	data, done, err := c.place(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	step("firebreak load %s %s", data.words(), made)
	if err := (&loadCommand{storage: data, MaxResource: 32 << 20, Paths: []string{made}}).Run(ctx, s); err != nil {
		return err
	}
	step("firebreak serve %s --listen 127.0.0.1:0", data.words())
	return c.serveAndExport(ctx, s, data, filepath.Join(dir, "export"), step)
}

// place is where the data goes: into a folder, or into a database of its own,
// which done removes unless all is kept.
func (c *demoCommand) place(ctx context.Context, dir string) (data storage, done func() error, err error) {
	data, done = storage{Data: filepath.Join(dir, "data")}, func() error { return nil }
	if c.Store == "" {
		return data, done, nil
	}
	data.Store = mongo.Beside(c.Store, "-demo-"+strings.ToLower(newID()[16:]))
	st, err := openStore(ctx, data) // if it cannot be had, there is nothing to remove
	if err != nil {
		return data, done, err
	}
	if c.Keep == "" {
		done = func() error { return dropped(ctx, data.Store) }
	}
	return data, done, st.Close()
}

// dropped removes a database, after Ctrl-C too.
func dropped(ctx context.Context, uri string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return mongo.Drop(ctx, uri)
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
	step("firebreak verify %s", out)
	if err := (&verifyCommand{Dir: out}).Run(ctx, s); err != nil {
		return err
	}
	return errors.Join(c.expect(out), client.Delete(ctx, report.StatusURL))
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
