package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"firebreak/operations/certificate"
	"firebreak/operations/purge"
)

// verifyPurgeCommand is "firebreak verify-purge".
type verifyPurgeCommand struct {
	Certificate string   `arg:"" help:"File with the certificate; - for standard input." placeholder:"CERT"`
	JWKS        string   `name:"jwks" help:"File or URL of the public keys. The certificate's own word about keys is never taken." required:"" placeholder:"FILE|URL"`
	Previous    string   `help:"File with the certificate before it in the chain." type:"path" placeholder:"CERT"`
	ID          []string `name:"id" help:"Ids of patients that must be among those meant; needs --keys." placeholder:"Patient/ID"`
	Keys        string   `help:"File with the signing keys of the server, which has the key of the ids." type:"path" placeholder:"FILE"`
	Canary      []string `help:"Texts that must not be in any file of --data: as they are, with escapes of JSON, or in base64." sep:"none" placeholder:"TEXT"`
	Data        string   `help:"Folder to look for canaries in." type:"path" placeholder:"DIR"`

	in io.Reader // what "-" is; nil: standard input
}

// Validate refuses options that do not go together.
func (c *verifyPurgeCommand) Validate() error {
	for _, text := range c.Canary {
		if len(text) < leastCanary {
			return fmt.Errorf("--canary needs %d bytes at least: a shorter text stands anywhere by chance", leastCanary)
		}
	}
	switch {
	case len(c.ID) > 0 && c.Keys == "":
		return errors.New("--id needs --keys, the file with the key of the ids")
	case len(c.Canary) > 0 && c.Data == "":
		return errors.New("--canary needs --data, the folder to look in")
	}
	return nil
}

// errDoesNotHold tells that the text says what does not hold.
var errDoesNotHold = errors.New("the certificate does not hold")

// Run is command. It goes on after what does not hold, so that all of that is
// said.
func (c *verifyPurgeCommand) Run(ctx context.Context, s streams) error {
	v, err := c.verifier(ctx)
	if err != nil {
		return err
	}
	compact, err := c.read(c.Certificate)
	if err != nil {
		return err
	}
	says, err := v.Verify(compact)
	if err != nil {
		return err
	}
	tellCertificate(s.out, says)
	holds := true
	for _, check := range []func(context.Context, streams, certificate.Verifier, certificate.Statement) error{c.chain, c.ids, c.canaries} {
		if err := check(ctx, s, v, says); err != nil {
			_, _ = fmt.Fprintf(s.err, "firebreak: %v\n", err)
			holds = false
		}
	}
	if !holds {
		return errDoesNotHold
	}
	return nil
}

// mostRead is the most bytes of a certificate or a set of keys.
const mostRead = 16 << 20

func (c *verifyPurgeCommand) read(path string) ([]byte, error) {
	if path != "-" {
		return os.ReadFile(path)
	}
	in := c.in
	if in == nil {
		in = os.Stdin
	}
	return io.ReadAll(io.LimitReader(in, mostRead))
}

func (c *verifyPurgeCommand) verifier(ctx context.Context) (certificate.Verifier, error) {
	var jwks []byte
	var err error
	if strings.HasPrefix(c.JWKS, "https://") || strings.HasPrefix(c.JWKS, "http://") {
		jwks, err = fetchKeys(ctx, c.JWKS)
	} else {
		jwks, err = os.ReadFile(c.JWKS)
	}
	if err != nil {
		return certificate.Verifier{}, err
	}
	return certificate.NewVerifier(jwks)
}

func fetchKeys(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, mostRead))
}

// chain checks that it follows the one before it.
func (c *verifyPurgeCommand) chain(_ context.Context, s streams, v certificate.Verifier, says certificate.Statement) error {
	if c.Previous == "" {
		return nil
	}
	compact, err := c.read(c.Previous)
	if err != nil {
		return err
	}
	before, err := v.Verify(compact)
	if err == nil {
		err = says.Follows(before, compact)
	}
	if err != nil {
		return fmt.Errorf("the chain: %w", err)
	}
	_, _ = fmt.Fprintf(s.out, "It follows number %d of the chain, that of job %s.\n", before.Number, before.Job)
	return nil
}

// ids checks that ids are among those meant.
func (c *verifyPurgeCommand) ids(_ context.Context, s streams, _ certificate.Verifier, says certificate.Statement) error {
	if len(c.ID) == 0 {
		return nil
	}
	keys, err := readKeys(c.Keys)
	if err != nil {
		return err
	}
	var missing []string
	for _, id := range c.ID {
		meant, err := says.Means(keys, id)
		if err != nil {
			return err
		}
		if !meant {
			missing = append(missing, id)
			continue
		}
		_, _ = fmt.Fprintf(s.out, "%s is among the patients that were meant.\n", id)
	}
	if len(missing) > 0 {
		return fmt.Errorf("not among the patients that were meant, or not by these keys: %s", strings.Join(missing, ", "))
	}
	return nil
}

// mostFindings is how many places of canaries are named.
const mostFindings = 100

// canaries looks for texts in each byte of the data.
func (c *verifyPurgeCommand) canaries(ctx context.Context, s streams, _ certificate.Verifier, _ certificate.Statement) error {
	if len(c.Canary) == 0 {
		return nil
	}
	var cs []sought
	for _, text := range c.Canary {
		cs = append(cs, newSought(text))
	}
	found := 0
	sum, err := scanFolder(ctx, c.Data, cs, func(path string, one sought, f finding) {
		if found++; found > mostFindings {
			return
		}
		_, _ = fmt.Fprintf(s.out, "%s has %q %s at byte %d.\n", path, one.text, f.how, f.offset)
	})
	if err != nil {
		return err
	}
	if found > 0 {
		return fmt.Errorf("canaries were found in %s, %d times", c.Data, found)
	}
	_, _ = fmt.Fprintf(s.out, "No canary is in any of the %s bytes of the %s files of %s.\n", count(sum.bytes), count(int64(sum.files)), c.Data)
	return nil
}

// tellCertificate prints what a certificate says.
func tellCertificate(w io.Writer, s certificate.Statement) {
	var b bytes.Buffer
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	say("The signature is good. This is certificate %d of the tenant %s, issued by %s at %s.", s.Number, s.Tenant, s.Issuer, when(time.Unix(s.Issued, 0)))
	who := s.Client
	if s.User != "" {
		who += " for the user " + s.User
	}
	say("Job %s (%s) was asked for by %s at %s, begun at %s and done at %s.", s.Job, s.Kind, who, when(s.Asked.At), when(s.Started), when(s.Ended))
	say("Asked: %s", asked(s))
	rows := [][]string{{"", "resources", "versions"}}
	row := func(name string, n certificate.Count) {
		rows = append(rows, []string{name, count(n.Resources), count(n.Versions)})
	}
	row("there were to go", s.Counts.Before)
	row("erased", s.Counts.Erased)
	for _, typ := range slices.Sorted(maps.Keys(s.Counts.ByType)) {
		name := typ
		if name == "" {
			name = "of types not known"
		}
		row("  "+name, s.Counts.ByType[typ])
	}
	row("left of these", s.Counts.After)
	table(&b, rows)
	if s.Asked.Plan != "" {
		say("It was held to a preview, which has shown exactly that: the hash of it is %s.", s.Asked.Plan)
	}
	say("Of what is about others %d were detached and %d kept. At least %d were written later, and stay.", s.Counts.Detached, s.Counts.Kept, s.Counts.Since)
	say("%s %s", looked(s.Look), scrubbed(s.Scrub))
	_, _ = w.Write(b.Bytes()) // the terminal's errors are not ours to mend
}

// asked says what was asked for.
func asked(s certificate.Statement) string {
	patients := count(int64(s.Patients.Count))
	if s.Kind == purge.HoldingKind {
		of, before := "of all types", ""
		if len(s.Asked.Types) > 0 {
			of = "of the types " + strings.Join(s.Asked.Types, ", ")
		}
		if s.Asked.Before != "" {
			before = ", last updated before " + s.Asked.Before
		}
		return fmt.Sprintf("all that they own, %s%s, as of %s; %s Patients among it.", of, before, when(s.TransactionTime), patients)
	}
	of := ""
	if s.Asked.Group {
		of = ", the members of a Group"
	}
	return fmt.Sprintf("the records of %s patients%s, as of %s; _shared=%s, _audit=%s, _verify=%s.",
		patients, of, when(s.TransactionTime), s.Asked.Shared, s.Asked.Audit, s.Asked.Verify)
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func looked(look string) string {
	if look == "full" {
		return "At the end no index had anything of the erased, nor had any version of a resource: each was read."
	}
	return "At the end no index had anything of the erased."
}

func scrubbed(s certificate.Scrub) string {
	text := "The erased bytes were overwritten in the files of the database."
	if s.State != "overwritten" {
		text = "The erased bytes are out of the server's reach."
	}
	if s.Until != nil {
		text += " They may be there until about " + when(*s.Until) + "."
	}
	places := map[string]string{
		"backups": "backups", "freed-blocks": "blocks that the file system has freed", "database-log": "the database's log of changes",
	}
	var rest []string
	for _, p := range s.Elsewhere {
		if name, ok := places[p]; ok {
			p = name
		}
		rest = append(rest, p)
	}
	if len(rest) > 0 {
		text += " It does not reach: " + strings.Join(rest, ", ") + "."
	}
	return text
}
