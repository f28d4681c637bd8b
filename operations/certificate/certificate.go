// Package certificate has the certificates of purges: what they say, how they
// are signed, and how they are verified. A certificate is a compact JWS (RFC
// 7515), signed with ES256. It has no content of any resource, no name, and no
// id of a resource in the clear: ids are in it as HMAC-SHA-256 under a key that
// the server keeps with its signing keys, so that whoever holds an id and that
// key can tell whether it is meant, and a certificate alone tells nobody.
//
// The certificates of a tenant are a chain: each has its number, and the hash of
// the one before it.
package certificate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

// Statement is what a certificate says: its payload, as JSON.
type Statement struct {
	Issuer string `json:"iss"` // the server's base URL, where it is known, else "firebreak"
	Issued int64  `json:"iat"` // in seconds since 1970
	Job    string `json:"jti"` // the job's id; there is one certificate of a job
	Tenant string `json:"tenant"`
	Number int64  `json:"number"`             // in the tenant's chain, from 1
	Before string `json:"previous,omitempty"` // Hash of the one before; "" of the first

	Client string `json:"client"`
	User   string `json:"user,omitempty"`
	Kind   string `json:"kind"` // of the job
	Asked  Asked  `json:"asked"`

	TransactionTime time.Time `json:"transactionTime"` // what was written later stays
	Started         time.Time `json:"started"`
	Ended           time.Time `json:"ended"`

	Counts   Counts   `json:"counts"`
	Look     string   `json:"look"` // "index": no index has anything of the erased; "full": nor has any version, each was read
	Scrub    Scrub    `json:"scrub"`
	Patients Patients `json:"patients"`
}

// Asked is what was asked for.
type Asked struct {
	At       time.Time `json:"at"`
	Shared   string    `json:"_shared,omitempty"`
	Audit    string    `json:"_audit"`
	Verify   string    `json:"_verify"`
	Types    []string  `json:"_type,omitempty"`   // of a holding; none: all
	Before   string    `json:"_before,omitempty"` // of a holding: only what was last updated before it
	Group    bool      `json:"group,omitempty"`   // the patients are the members of one
	Patients int       `json:"patients"`
	// Digest is the HMAC-SHA-256 of what was asked, under the key of the ids: a
	// plain hash would tell the id of a single patient to whoever tries all.
	Digest string `json:"digest"`
	// Plan is what the preview came to that the purge was held to: a hash, under
	// a key of that preview alone, of each version that was to go.
	Plan string `json:"_plan,omitempty"`
}

// Counts are of resources and of versions, by type too. Types without a name
// are those that it is not known of, as a process was killed at it.
type Counts struct {
	Before   Count            `json:"before"` // that were to go
	Erased   Count            `json:"erased"`
	After    Count            `json:"after"` // of those that were to go: left
	ByType   map[string]Count `json:"erasedByType,omitempty"`
	Detached int              `json:"detached"` // of each patient a thousand at most are counted
	Kept     int              `json:"kept"`
	Since    int              `json:"writtenSince"` // at least
	LeftOut  int              `json:"leftOut"`      // members of the Group that are no patients
}

// Count is of resources of which nothing is left, and of versions.
type Count struct {
	Resources int64 `json:"resources"`
	Versions  int64 `json:"versions"`
}

// CountOf is what was erased, as a certificate has it.
func CountOf(e job.Erased) Count { return Count{e.Resources, e.Versions} }

// Scrub is where erased bytes may still be.
type Scrub struct {
	// State is "overwritten" in the files of the database, or "unknown": out of
	// the server's reach.
	State string     `json:"state"`
	Until *time.Time `json:"until,omitempty"` // about until when they may be there
	// Elsewhere is what the server never reaches, or knows not to have reached.
	Elsewhere []string `json:"elsewhere"`
}

// Patients are those whose records were meant, in no order that tells anything.
type Patients struct {
	Count int `json:"count"`
	// HMAC is one of each, of "Patient/" and its id, in ascending order. Where
	// there are more than MaxIDs, Digest stands for them: the SHA-256 of all of
	// them, each with a line feed after it.
	HMAC   []string `json:"hmac,omitempty"`
	Digest string   `json:"digest,omitempty"`
}

// MaxIDs is how many ids a certificate has one by one.
const MaxIDs = 10_000

// Hash is by which the next certificate names this one.
func Hash(compact []byte) string {
	sum := sha256.Sum256(compact)
	return hex.EncodeToString(sum[:])
}

// Issuer appends certificates to the chains of tenants.
type Issuer struct {
	Store store.Certificates
	Keys  func() Keys // those to sign with now
	Now   func() time.Time
	Name  string // Statement.Issuer
}

// Issue certifies the job of a fence: it fills in who issues the statement, when,
// its place in the chain, and the patients by their ids. asked is
// what Asked.Digest is of. A job has one certificate: if there is one already,
// it stays.
func (i Issuer) Issue(ctx context.Context, f store.Fence, s Statement, asked string, patients []string) error {
	_, err := i.Store.Certificate(ctx, f.Tenant, f.Job)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	keys := i.Keys()
	s.Issuer, s.Tenant, s.Job = i.Name, string(f.Tenant), f.Job
	// These may be of several machines, whose clocks need not agree.
	s.Started = latest(s.Started, s.Asked.At)
	s.Ended = latest(s.Ended, s.Started)
	s.Asked.Digest = keys.hide("asked", s.Tenant, s.Job, asked)
	s.Asked.Patients, s.Patients = len(patients), hidden(keys, s, patients)
	for {
		err := i.next(ctx, f, keys, s)
		if !errors.Is(err, store.ErrConflict) { // else another was first, and this comes after it
			return err
		}
	}
}

// next signs the statement as the one after the last.
func (i Issuer) next(ctx context.Context, f store.Fence, keys Keys, s Statement) error {
	last, err := i.Store.Certificates(ctx, f.Tenant, 0, 1)
	if err != nil {
		return err
	}
	s.Issued, s.Number = max(i.Now().Unix(), s.Ended.Unix()), 1
	if len(last) > 0 {
		s.Number, s.Before = last[0].Number+1, Hash(last[0].Doc)
	}
	doc, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("certificate: write the statement: %w", err)
	}
	compact, err := keys.sign(doc)
	if err != nil {
		return err
	}
	_, err = i.Store.Certify(ctx, f, s.Number, compact)
	return err
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func hidden(keys Keys, s Statement, patients []string) Patients {
	p := Patients{Count: len(patients)}
	for _, id := range patients {
		p.HMAC = append(p.HMAC, keys.ID(s.Tenant, s.Job, "Patient/"+id))
	}
	slices.Sort(p.HMAC)
	if len(p.HMAC) > MaxIDs {
		p.Digest, p.HMAC = digestOf(p.HMAC), nil
	}
	return p
}

func digestOf(sorted []string) string {
	sum := sha256.New()
	for _, id := range sorted {
		_, _ = fmt.Fprintln(sum, id) // a hash takes all
	}
	return hex.EncodeToString(sum.Sum(nil))
}
