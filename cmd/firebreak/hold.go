package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// holdCommand is "firebreak hold".
type holdCommand struct {
	Set  holdSetCommand  `cmd:"" help:"Set a hold on a patient, a group or a tenant. While it stands, no purge removes what is theirs: one that asks for it is refused, and one under way stops."`
	List holdListCommand `cmd:"" help:"List the holds that stand, with --ended those that were lifted or are over too."`
	Lift holdLiftCommand `cmd:"" help:"End a hold. It stays on record, with who lifted it and when."`
}

// operatorAt is where the operator's address of a server is.
type operatorAt struct {
	Operator string `help:"Where the server's --operator-listen is. It is served to its own machine only." default:"http://127.0.0.1:9464" placeholder:"URL"`
	In       string `help:"Tenant of the server; without it, the default one." placeholder:"TENANT"`
}

type holdSetCommand struct {
	operatorAt
	Patient string `help:"Hold the record of this Patient. It must be there, or have been there." xor:"on" placeholder:"ID"`
	Group   string `help:"Hold the records of this Group's members: of all who are members now until the hold ends, and of each who is one when a purge begins." xor:"on" placeholder:"ID"`
	All     bool   `help:"Hold all records of the tenant." xor:"on"`
	By      string `help:"Who sets the hold, for the record." required:"" placeholder:"NAME"`
	Why     string `help:"The reason, such as the number of a case. It is shown here only." required:"" placeholder:"TEXT"`
	Until   string `help:"Instant at which the hold ends by itself, such as 2027-01-31T00:00:00Z. Without it, it stands until it is lifted." placeholder:"INSTANT"`
}

type holdListCommand struct {
	operatorAt
	Ended bool `help:"Those that have ended too."`
}

type holdLiftCommand struct {
	operatorAt
	By string `help:"Who lifts the hold, for the record." required:"" placeholder:"NAME"`
	ID string `arg:"" help:"Id of the hold, as 'firebreak hold list' shows it."`
}

// Run is command.
func (c *holdSetCommand) Run(ctx context.Context, s streams) error {
	h := holdJSON{Tenant: c.In, By: c.By, Why: c.Why}
	switch {
	case c.Patient != "":
		h.On = "Patient/" + c.Patient
	case c.Group != "":
		h.On = "Group/" + c.Group
	case c.All:
		h.On = "tenant"
	default:
		return errors.New("say what the hold is on: --patient ID, --group ID or --all")
	}
	if c.Until != "" {
		until, err := time.Parse(time.RFC3339, c.Until)
		if err != nil {
			return errors.New("--until is no instant such as 2027-01-31T00:00:00Z")
		}
		h.Until = &until
	}
	made, err := ask[holdJSON](ctx, c.operatorAt, http.MethodPost, "", nil, &h)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(s.out, "hold %s is on %s, %s\n", made.ID, made.On, untilOf(made))
	if c.Group != "" {
		_, _ = fmt.Fprintf(s.out, "members held: %d\n", made.Patients)
	}
	if made.LeftOut > 0 {
		_, _ = fmt.Fprintf(s.err, "%d members of the Group, or things that it says of them, were passed over: they are no patients of the server\n", made.LeftOut)
	}
	return nil
}

// untilOf says until when a hold is, or since when it is none.
func untilOf(h holdJSON) string {
	switch {
	case h.Lifted != nil:
		return "lifted " + h.Lifted.Format(time.RFC3339) + " by " + h.LiftedBy
	case h.Until == nil:
		return "until it is lifted"
	case h.Stands != nil && !*h.Stands:
		return "ended " + h.Until.Format(time.RFC3339)
	}
	return "until " + h.Until.Format(time.RFC3339)
}

// Run is command.
func (c *holdListCommand) Run(ctx context.Context, s streams) error {
	rows := [][]string{{"hold", "on", "stands", "set", "by", "why"}}
	for after := ""; ; {
		q := url.Values{"after": {after}, "ended": {fmt.Sprint(c.Ended)}}
		page, err := ask[holdsJSON](ctx, c.operatorAt, http.MethodGet, "", q, nil)
		if err != nil {
			return err
		}
		for _, h := range page.Holds {
			rows = append(rows, []string{h.ID, h.On, untilOf(h), h.Set.Format(time.RFC3339), h.By, h.Why})
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(rows) == 1 {
		_, _ = fmt.Fprintln(s.out, "there are no holds")
		return nil
	}
	table(s.out, rows)
	return nil
}

// Run is command.
func (c *holdLiftCommand) Run(ctx context.Context, s streams) error {
	h, err := ask[holdJSON](ctx, c.operatorAt, http.MethodDelete, "/"+url.PathEscape(c.ID), url.Values{"by": {c.By}}, nil)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(s.out, "hold %s on %s: %s\n", h.ID, h.On, untilOf(h))
	return nil
}

// ask asks the operator's address of a server about its holds.
func ask[T any](ctx context.Context, at operatorAt, method, path string, q url.Values, body *holdJSON) (out T, err error) {
	var send io.Reader
	if body != nil {
		doc, err := json.Marshal(body)
		if err != nil {
			return out, err
		}
		send = bytes.NewReader(doc)
	} else if at.In != "" {
		q.Set("tenant", at.In)
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(at.Operator, "/")+"/holds"+path+"?"+q.Encode(), send)
	if err != nil {
		return out, err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return out, fmt.Errorf("%w\n--operator is where the server's --operator-listen is; it is reached from its own machine only", err)
	}
	defer res.Body.Close()
	doc, err := io.ReadAll(res.Body)
	if err != nil {
		return out, err
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		var said struct{ Error string }
		if json.Unmarshal(doc, &said) != nil || said.Error == "" {
			said.Error = "is this the operator's address of a firebreak?"
		}
		return out, fmt.Errorf("%s: %s", res.Status, said.Error)
	}
	if err := json.Unmarshal(doc, &out); err != nil {
		return out, fmt.Errorf("the answer is not of a firebreak: %w", err)
	}
	return out, nil
}
