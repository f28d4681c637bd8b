package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"firebreak/operations/fetch"

	"github.com/tidwall/gjson"
)

// purgeCommand is "firebreak purge".
type purgeCommand struct {
	Server  string   `help:"FHIR base URL of a Firebreak." required:"" placeholder:"URL"`
	Patient []string `help:"Remove the records of these Patients." xor:"whose" placeholder:"ID"`
	Group   string   `help:"Remove the records of the members of this Group." xor:"whose" placeholder:"ID"`
	holdingFlags
	Shared string `help:"What becomes of resources about others that name the patient: ${enum}. detach replaces the references; delete removes them, but no other Patient and no Group; keep leaves them." enum:"detach,delete,keep" default:"detach"`
	Audit  bool   `name:"with-audit" help:"Remove AuditEvents that clients wrote too. The server's own stay."`
	Verify bool   `help:"Read every resource of the server for what was erased, before the end. For a Group that is always done."`
	previewFlags
	Yes bool `help:"Do not ask before it starts."`
	credentials

	in io.Reader // where the answer to the question comes from; nil: standard input
}

var (
	errNotMeant  = errors.New("nothing was purged")
	errNoPreview = errors.New("there is no preview")
)

// Run is command.
func (c *purgeCommand) Run(ctx context.Context, s streams) error {
	if err := c.check(); err != nil {
		return err
	}
	if !c.Yes && !c.Preview && !c.sure(s) {
		return errNotMeant
	}
	m := newMeter(s.err, c.what(), 0)
	client, err := fetch.New(fetch.Config{
		HTTP: http.DefaultClient, Base: c.Server, Now: time.Now, Credentials: c.source(),
		Progress: func(p fetch.Progress) {
			if p.Text != "" {
				m.show(0, p.Text)
			}
		},
	})
	if err != nil {
		return err
	}
	task, err := c.task()
	if err != nil {
		return err
	}
	status, err := client.Start(ctx, task)
	if err != nil {
		return err
	}
	body, err := client.Await(ctx, status, func(body []byte) bool { return c.done(m, body) })
	m.end()
	if err != nil {
		return fmt.Errorf("%w\nthe %s goes on at the server; ask for it with GET %s, or stop it with DELETE", err, c.what(), status)
	}
	_, _ = fmt.Fprintln(s.err, "the job is at "+status)
	return c.report(s, body)
}

// sure asks whether it is meant.
func (c *purgeCommand) sure(s streams) bool {
	what := "The records of the members of Group/" + c.Group
	switch {
	case c.Mine:
		what = c.whatIsMine()
	case c.Group == "":
		what = "The records of " + strings.Join(c.Patient, ", ")
	}
	_, _ = fmt.Fprintf(s.err, "%s at %s will be removed for good, with all versions.\nThis cannot be undone. Type yes to go on: ", what, c.Server)
	in := c.in
	if in == nil {
		in = os.Stdin
	}
	line, _ := bufio.NewReader(in).ReadString('\n') // what is not "yes" is no
	return strings.TrimSpace(line) == "yes"
}

// task is what to ask the server for. It is asked once: whoever asks again
// finds less to remove, which does no harm.
func (c *purgeCommand) task() (fetch.Task, error) {
	if c.Mine {
		return c.holding()
	}
	body := taskBody{"Parameters", []taskParameter{{"_shared", c.Shared}}}
	for _, id := range c.Patient {
		body.Parameter = append(body.Parameter, taskParameter{"patientId", id})
	}
	if c.Audit {
		body.Parameter = append(body.Parameter, taskParameter{"_audit", "purge"})
	}
	if c.Verify {
		body.Parameter = append(body.Parameter, taskParameter{"_verify", "full"})
	}
	body.Parameter = append(body.Parameter, c.parameters()...)
	doc, err := json.Marshal(body)
	path := "/Patient/$bulk-purge"
	if c.Group != "" {
		path = "/Group/" + url.PathEscape(c.Group) + "/$purge"
	}
	return fetch.Task{Path: path, Body: doc, Key: newID()}, err
}

// done tells whether an answer is the last one, and shows how far it is.
func (c *purgeCommand) done(m *meter, body []byte) bool {
	switch {
	case c.Preview, c.Group != "":
		return true // the first answer of 200 is
	case c.Mine:
		return holdingDone(m, body)
	}
	var total, purged, open int64
	ended := gjson.GetBytes(body, `parameter.#(name=="outcome")`).Exists()
	results(body, func(r map[string]gjson.Result) {
		total += r["totalResourcesCount"].Int()
		purged += r["purgedResourcesCount"].Int()
		if status := r["status"].String(); status != "completed" && status != "error" {
			open++
		}
	})
	if total > m.total {
		m.grow(total)
	}
	m.show(purged, fmt.Sprintf("%s of %s resources, %d patients to go", count(purged), count(total), open))
	return ended
}

// results calls f with the parts of each result of a Parameters resource, by
// name.
func results(body []byte, f func(map[string]gjson.Result)) {
	gjson.GetBytes(body, `parameter.#(name=="result")#.part`).ForEach(func(_, parts gjson.Result) bool {
		r := map[string]gjson.Result{}
		parts.ForEach(func(_, p gjson.Result) bool {
			p.ForEach(func(name, value gjson.Result) bool {
				if strings.HasPrefix(name.String(), "value") {
					r[p.Get("name").String()] = value
				}
				return true
			})
			return true
		})
		f(r)
		return true
	})
}

// errNotAll tells that a purge ended and something was not done.
var errNotAll = errors.New("not all was purged; run it again")

// report prints what was done.
func (c *purgeCommand) report(s streams, body []byte) error {
	switch {
	case c.Preview:
		return reportPreview(s, body)
	case c.Mine:
		return reportHolding(s, body)
	case c.Group != "":
		return reportOutcome(s, body)
	}
	rows, failed := [][]string{{"patient", "status", "resources", "detached"}}, false
	results(body, func(r map[string]gjson.Result) {
		rows = append(rows, []string{
			r["patientId"].String(), r["status"].String(), count(r["purgedResourcesCount"].Int()), count(r["detachedResourcesCount"].Int()),
		})
		if why := r["error"].String(); why != "" {
			failed = true
			_, _ = fmt.Fprintf(s.err, "%s: %s\n", r["patientId"], why)
		}
	})
	table(s.out, rows)
	outcome := gjson.GetBytes(body, `parameter.#(name=="outcome").resource`)
	outcome.Get("issue.#.diagnostics").ForEach(func(_, text gjson.Result) bool {
		_, _ = fmt.Fprintln(s.out, text.String())
		return true
	})
	if failed || outcome.Get(`issue.#(code=="incomplete")`).Exists() {
		return errNotAll
	}
	return nil
}

// reportOutcome prints what the Bundle of a job that has ended says.
func reportOutcome(s streams, body []byte) error {
	entry := gjson.GetBytes(body, "entry.0")
	for _, at := range []string{"response.outcome", "resource"} {
		entry.Get(at + ".issue.#.diagnostics").ForEach(func(_, text gjson.Result) bool {
			_, _ = fmt.Fprintln(s.out, text.String())
			return true
		})
	}
	if !strings.HasPrefix(entry.Get("response.status").String(), "2") {
		return errNotAll
	}
	return nil
}
