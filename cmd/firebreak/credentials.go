package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"firebreak/operations/fetch"
)

// The headers of a client with header credentials.
const (
	clientIDHeader     = "client_id"
	clientSecretHeader = "client_secret"
	clientUserHeader   = "x-oneup-user-id"
)

// credentials are how a command that is a client says who it is: by a token, or
// by header credentials.
type credentials struct {
	TokenFile        string `help:"File with an access token for the server; it is read anew for each request, so that it may be renewed." placeholder:"FILE"`
	ClientID         string `name:"client-id" help:"Id of a client with header credentials, instead of a token." placeholder:"ID"`
	ClientSecretFile string `help:"File with the secret of --client-id, or with the headers that 'firebreak client add' prints; it is read anew for each request. Without it, the secret is in $$FIREBREAK_CLIENT_SECRET." placeholder:"FILE"`
	UserID           string `name:"user-id" help:"The user for whom --client-id acts, as x-oneup-user-id. Without it, the client acts for itself alone." placeholder:"ID"`
}

// Help is what --help says beside the options.
func (credentials) Help() string {
	return `A server that takes header credentials is told who asks by the id of a client, its secret, which is never an option itself, and perhaps a user:

    firebreak client add --clients clients.json --id app --user u1 --scope 'system/*.cruds' > app.headers
    ... --client-id app --client-secret-file app.headers --user-id u1

They go to the scheme, host and port of --server only, as a token does.`
}

// Validate refuses options that do not go together.
func (c credentials) Validate() error {
	switch {
	case c.TokenFile != "" && c.ClientID != "":
		return errors.New("there are two kinds of credentials: give either --token-file or --client-id")
	case c.ClientID == "" && (c.ClientSecretFile != "" || c.UserID != ""):
		return errors.New("--client-secret-file and --user-id go with --client-id")
	case c.ClientID != "" && c.ClientSecretFile == "" && clientSecret() == "":
		return errors.New("--client-id needs the secret: give --client-secret-file, or set " + clientSecretVariable)
	case !isVisible(c.ClientID) || !isVisible(c.UserID):
		return errors.New("--client-id and --user-id are sent as headers, so they are of visible ASCII characters")
	}
	return nil
}

// isVisible tells whether a text can be sent as a header without loss.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// source is nil where nobody in particular asks.
func (c credentials) source() fetch.Credentials {
	switch {
	case c.TokenFile != "":
		return fetch.Bearer(c.token)
	case c.ClientID != "":
		return c.headers
	}
	return nil
}

func (c credentials) token(context.Context) (string, error) {
	b, err := os.ReadFile(c.TokenFile)
	return strings.TrimSpace(string(b)), err
}

func (c credentials) headers(context.Context) (http.Header, error) {
	secret, err := c.secret()
	if err != nil {
		return nil, fmt.Errorf("getting the client's secret: %w", err)
	}
	h := http.Header{}
	h.Set(clientIDHeader, c.ClientID)
	h.Set(clientSecretHeader, secret)
	if c.UserID != "" {
		h.Set(clientUserHeader, c.UserID)
	}
	return h, nil
}

// secret is that of the file, or else of the environment. No error holds any
// part of it.
func (c credentials) secret() (string, error) {
	if c.ClientSecretFile == "" {
		return clientSecret(), checkSecret(clientSecretVariable, clientSecret())
	}
	text, err := os.ReadFile(c.ClientSecretFile)
	if err != nil {
		return "", err
	}
	secret, err := c.secretIn(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.ClientSecretFile, err)
	}
	return secret, checkSecret(c.ClientSecretFile, secret)
}

func checkSecret(where, secret string) error {
	if secret == "" || !isVisible(secret) {
		return fmt.Errorf("%s holds no secret: it is one word of visible ASCII characters", where)
	}
	return nil
}

// secretIn finds the secret in a file of nothing else, or of headers as "client
// add" prints them.
func (c credentials) secretIn(text string) (string, error) {
	headers := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			headers[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
	}
	if id, ok := headers[clientIDHeader]; ok && id != c.ClientID {
		return "", errors.New("the secret in it is of another client than --client-id")
	}
	if secret, ok := headers[clientSecretHeader]; ok {
		return secret, nil
	}
	return strings.TrimSpace(text), nil
}
