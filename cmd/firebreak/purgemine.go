package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"firebreak/operations/fetch"

	"github.com/tidwall/gjson"
)

// holdingFlags are those of "firebreak purge" for all that the caller owns.
type holdingFlags struct {
	Mine   bool     `help:"Remove all that whoever asks owns: the client, or the user for whom it acts." xor:"whose"`
	Type   []string `help:"With --mine: resources of these types only." placeholder:"TYPE"`
	Before string   `help:"With --mine: only resources that were last updated before this date or instant." placeholder:"DATE"`
}

// check refuses what does not go together.
func (c *purgeCommand) check() error {
	switch {
	case len(c.Patient) == 0 && c.Group == "" && !c.Mine:
		return errors.New("say what is to go: --patient ID, as often as needed, --group ID, or --mine")
	case !c.Mine && (len(c.Type) > 0 || c.Before != ""):
		return errors.New("--type and --before go with --mine only")
	case c.Mine && (c.Audit || c.Verify || c.Shared != "" && c.Shared != "detach"):
		return errors.New("--shared, --with-audit and --verify do not go with --mine: nothing of others is touched, AuditEvents that the client wrote go, and every resource is read")
	}
	return nil
}

// whatIsMine says what the question is about.
func (c *purgeCommand) whatIsMine() string {
	what := "All that you own"
	if len(c.Type) > 0 {
		what += " of " + strings.Join(c.Type, ", ")
	}
	if c.Before != "" {
		what += ", last updated before " + c.Before + ","
	}
	return what
}

// taskBody is a Parameters resource that starts a task.
type taskBody struct {
	ResourceType string          `json:"resourceType"`
	Parameter    []taskParameter `json:"parameter,omitempty"`
}

type taskParameter struct {
	Name  string `json:"name"`
	Value string `json:"valueString"`
}

// holding is what to ask the server for with --mine.
func (c *purgeCommand) holding() (fetch.Task, error) {
	body := taskBody{ResourceType: "Parameters"}
	if len(c.Type) > 0 {
		body.Parameter = append(body.Parameter, taskParameter{"_type", strings.Join(c.Type, ",")})
	}
	if c.Before != "" {
		body.Parameter = append(body.Parameter, taskParameter{"_before", c.Before})
	}
	body.Parameter = append(body.Parameter, c.parameters()...)
	doc, err := json.Marshal(body)
	return fetch.Task{Path: purgePath, Body: doc, Key: newID()}, err
}

// holdingNumber is a count in the status of the purge of a holding.
func holdingNumber(body []byte, name string) int64 {
	return gjson.GetBytes(body, fmt.Sprintf(`parameter.#(name==%q).valueInteger`, name)).Int()
}

// holdingDone tells whether an answer is the last one, and shows how far it is.
func holdingDone(m *meter, body []byte) bool {
	total, gone := holdingNumber(body, "resourceCount"), holdingNumber(body, "deletedCount")
	if total > m.total {
		m.grow(total)
	}
	text := "counting"
	if gjson.GetBytes(body, `parameter.#(name=="resourceCount")`).Exists() {
		text = fmt.Sprintf("%s of %s resources", count(gone), count(total))
	}
	m.show(gone, text)
	return gjson.GetBytes(body, `parameter.#(name=="outcome")`).Exists()
}

// reportHolding prints what was done.
func reportHolding(s streams, body []byte) error {
	batches := gjson.GetBytes(body, `parameter.#(name=="batches").part`)
	table(s.out, [][]string{
		{"", "resources", "versions", "batches"},
		{"planned", count(holdingNumber(body, "resourceCount")), "", count(batches.Get(`#(name=="total").valueInteger`).Int())},
		{"removed", count(holdingNumber(body, "deletedCount")), count(holdingNumber(body, "deletedVersionsCount")), count(batches.Get(`#(name=="completed").valueInteger`).Int())},
	})
	outcome := gjson.GetBytes(body, `parameter.#(name=="outcome").resource`)
	outcome.Get("issue.#.diagnostics").ForEach(func(_, text gjson.Result) bool {
		_, _ = fmt.Fprintln(s.out, text.String())
		return true
	})
	if outcome.Get(`issue.#(code=="incomplete")`).Exists() {
		return errNotAll
	}
	return nil
}
