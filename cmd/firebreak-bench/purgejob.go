package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"firebreak/operations/fetch"

	"github.com/tidwall/gjson"
)

// purged is what a job did, and how long after its kick-off.
type purged struct {
	patients time.Duration // until the last of them was done
	outcome  time.Duration // until the job was
	versions int64
}

func (d purged) rate() float64 { return rate(d.versions, d.patients) }

// bulk purges patients by one job.
func (p purging) bulk(ctx context.Context, patients []string) (done purged, err error) {
	body, err := bulkBody(patients)
	if err != nil {
		return done, err
	}
	began := time.Now()
	wait := impatient(began)
	if len(patients) > 1 { // it takes so long that polls would be traffic to make way for
		wait = seldom
	}
	client, err := exporting{p.bench, p.server}.client(wait)
	if err != nil {
		return done, err
	}
	status, err := client.Start(ctx, fetch.Task{Path: "/Patient/$bulk-purge", Body: body})
	if err != nil {
		return done, err
	}
	last, err := client.Await(ctx, status, func(body []byte) bool {
		if done.patients == 0 && completed(body) == len(patients) {
			done.patients = time.Since(began)
		}
		return gjson.GetBytes(body, outcomePath).Exists()
	})
	if err != nil {
		return done, err
	}
	done.outcome = time.Since(began)
	done.versions, err = versionsErased(gjson.GetBytes(last, outcomePath))
	if n := completed(last); err == nil && n != len(patients) {
		err = fmt.Errorf("of %d patients %d were purged", len(patients), n)
	}
	return done, err
}

const outcomePath = `parameter.#(name=="outcome").resource`

// parameter is one of a kick-off, with either value.
type parameter struct {
	Name string `json:"name"`
	ID   string `json:"valueId,omitempty"`
	Code string `json:"valueCode,omitempty"`
}

// bulkBody is a kick-off's.
func bulkBody(patients []string, more ...parameter) ([]byte, error) {
	all := more
	for _, id := range patients {
		all = append(all, parameter{Name: "patientId", ID: id})
	}
	return json.Marshal(struct {
		ResourceType string      `json:"resourceType"`
		Parameter    []parameter `json:"parameter"`
	}{"Parameters", all})
}

// completed is how many patients are done.
func completed(progress []byte) (n int) {
	for _, status := range gjson.GetBytes(progress, `parameter.#.part.#(name=="status").valueCode`).Array() {
		if status.String() == "completed" {
			n++
		}
	}
	return n
}

var erasedVersions = regexp.MustCompile(`, and ([0-9]+) versions of them`)

// versionsErased is what an outcome says of versions, in words: the numbers
// elsewhere are of resources.
func versionsErased(outcome gjson.Result) (int64, error) {
	found := erasedVersions.FindStringSubmatch(outcome.Get("issue.0.diagnostics").String())
	if found == nil {
		return 0, errors.New("the outcome of a purge does not say how many versions were erased")
	}
	return strconv.ParseInt(found[1], 10, 64)
}

// wait purges one patient by a call that waits for the end. A server that does
// not want to wait so long says where to ask for it.
func (p purging) wait(ctx context.Context, patient string) (time.Duration, error) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.server.base+"/Patient/"+patient+"/$purge", http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := newHTTPClient(1).Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return 0, err
	}
	switch res.StatusCode {
	case http.StatusOK:
		return time.Since(began), nil
	case http.StatusAccepted:
		client, err := exporting{p.bench, p.server}.client(impatient(began))
		if err == nil {
			_, err = client.Await(ctx, res.Header.Get("Content-Location"), func([]byte) bool { return true })
		}
		return time.Since(began), err
	}
	return 0, fmt.Errorf("$purge: the server answers %s", res.Status)
}
