package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"firebreak/auth"
	"firebreak/fhir/r4"
	"firebreak/operations/audit"
)

// clientCommand is "firebreak client".
type clientCommand struct {
	Add    clientAddCommand    `cmd:"" help:"Add a client, and print its id and its secret."`
	List   clientListCommand   `cmd:"" help:"List the clients, without anything of their secrets."`
	Rotate clientRotateCommand `cmd:"" help:"Give a client a new secret, and print it. The old one is refused from then on."`
	Remove clientRemoveCommand `cmd:"" help:"Remove a client. What it owns stays."`
}

// clientAddCommand is "firebreak client add".
type clientAddCommand struct {
	clientFile
	ID     string   `name:"id" env:"-" help:"Id of the client; without it, one is made." placeholder:"ID"`
	Tenant string   `env:"-" help:"Tenant of the client." default:"default" placeholder:"NAME"`
	Method string   `env:"-" help:"${enum}: 'header' takes client_id and client_secret as headers, and refuses tokens; 'bearer' takes tokens, and has no secret, user or scope here." enum:"header,bearer" default:"header"`
	User   []string `env:"-" sep:"none" help:"A user for whom the client may act, by x-oneup-user-id; as often as needed." placeholder:"USER"`
	Scope  []string `env:"-" sep:"none" help:"SMART scope of the client, such as system/*.read; as often as needed." placeholder:"SCOPE"`
}

// Help is what --help says beside the options.
func (*clientAddCommand) Help() string {
	return `The secret is shown this once; the file has only a hash of it. What is printed are the headers to send, so that curl takes it as a file:

    firebreak client add --clients clients.json --id app --user u1 --scope 'system/*.read' > app.headers
    firebreak serve --auth=clients --clients clients.json
    curl -H @app.headers -H 'x-oneup-user-id: u1' http://127.0.0.1:8080/fhir/Patient/p`
}

// Run is command.
func (c *clientAddCommand) Run(_ context.Context, s streams) error {
	client := auth.Client{
		ID: cmp.Or(c.ID, newID()), Tenant: c.Tenant, Method: auth.Method(c.Method),
		Users: c.User, Scopes: strings.Fields(strings.Join(c.Scope, " ")),
	}
	secret := ""
	if client.Method == auth.ByHeader {
		secret, client.SecretHash = newSecret()
	}
	if err := checkNewClient(client); err != nil {
		return err
	}
	err := c.change(true, func(all auth.Clients) error {
		if _, ok := all[client.ID]; ok {
			return errors.New("there is a client of this id; 'firebreak client rotate' gives it a new secret")
		}
		all[client.ID] = client
		return nil
	})
	if err != nil {
		return err
	}
	return printCredentials(s, client.ID, secret)
}

// checkNewClient refuses a client with which nothing could be done.
func checkNewClient(c auth.Client) error {
	if err := c.Check(); err != nil {
		return err
	}
	switch {
	case c.ID == audit.Client:
		return errors.New("the id is the name that the server has for itself")
	case c.Method == auth.ByHeader && len(c.Scopes) == 0:
		return errors.New("without a --scope the client could do nothing; for all that there is: --scope 'system/*.cruds'")
	}
	for _, scope := range c.Scopes {
		if err := auth.CheckScope(scope, r4.IsType); err != nil {
			return err
		}
	}
	return nil
}

// newSecret makes a secret that nobody can guess, and what is kept of it.
func newSecret() (secret, hash string) {
	var b [32]byte
	var salt [16]byte
	_, _ = rand.Read(b[:]) // which never fails
	_, _ = rand.Read(salt[:])
	secret = base64.RawURLEncoding.EncodeToString(b[:])
	return secret, auth.HashSecret(secret, salt)
}

// printCredentials writes the headers that the client is to send. All other
// words go elsewhere, so that they can be kept as a file.
func printCredentials(s streams, id, secret string) error {
	text := clientIDHeader + ": " + id + "\n"
	if secret != "" {
		text += clientSecretHeader + ": " + secret + "\n"
		_, _ = fmt.Fprintln(s.err, "The secret is shown this once. A running server knows it within two seconds.")
	}
	if _, err := fmt.Fprint(s.out, text); err != nil {
		return fmt.Errorf("the client is in the file, and its secret could not be shown; make a new one with 'firebreak client rotate': %w", err)
	}
	return nil
}

// clientListCommand is "firebreak client list".
type clientListCommand struct{ clientFile }

// Run is command.
func (c *clientListCommand) Run(_ context.Context, s streams) error {
	clients, err := c.read()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "client\ttenant\tmethod\tusers\tscopes")
	for _, one := range clients.Sorted() {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", one.ID, one.Tenant, one.Method, words(one.Users), words(one.Scopes))
	}
	return t.Flush()
}

// words are those of a list, or a dash if it has none.
func words(list []string) string { return cmp.Or(strings.Join(list, " "), "-") }

// clientRotateCommand is "firebreak client rotate".
type clientRotateCommand struct {
	clientFile
	ID string `name:"id" env:"-" help:"Id of the client." required:"" placeholder:"ID"`
}

// Help is what --help says beside the options.
func (*clientRotateCommand) Help() string {
	return `    firebreak client rotate --clients clients.json --id app > app.headers

A running server takes the new secret, and no more the old one, within two seconds.`
}

// Run is command.
func (c *clientRotateCommand) Run(_ context.Context, s streams) error {
	secret, hash := newSecret()
	err := c.change(false, func(all auth.Clients) error {
		client, ok := all[c.ID]
		switch {
		case !ok:
			return errNoClient
		case client.Method != auth.ByHeader:
			return errors.New("this client uses tokens, and has no secret here")
		}
		client.SecretHash = hash
		all[c.ID] = client
		return nil
	})
	if err != nil {
		return err
	}
	return printCredentials(s, c.ID, secret)
}

var errNoClient = errors.New("there is no client of this id; 'firebreak client list' shows those that there are")

// clientRemoveCommand is "firebreak client remove".
type clientRemoveCommand struct {
	clientFile
	ID string `name:"id" env:"-" help:"Id of the client." required:"" placeholder:"ID"`
}

// Run is command.
func (c *clientRemoveCommand) Run(_ context.Context, s streams) error {
	err := c.change(false, func(all auth.Clients) error {
		if _, ok := all[c.ID]; !ok {
			return errNoClient
		}
		delete(all, c.ID)
		return nil
	})
	if err == nil {
		_, _ = fmt.Fprintln(s.err, "The client is removed; a running server refuses it within two seconds.")
	}
	return err
}
