package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"firebreak/fhir"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Method is how a client says who it is. It has one, and is refused with the
// other.
type Method string

// The methods.
const (
	ByHeader Method = "header" // client_id and client_secret as headers
	ByBearer Method = "bearer" // a token of the OpenID provider
)

// Client is what is known of a client.
type Client struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	Method Method `json:"method"`

	// Users are those for whom a client with header credentials may act; Scopes
	// are its SMART scopes, one each. A token says both itself.
	Users  []string `json:"users,omitempty"`
	Scopes []string `json:"scopes,omitempty"`
	// SecretHash is what HashSecret made of the secret; "" with ByBearer.
	SecretHash string `json:"secretHash,omitempty"`
}

// Check refuses a client that could not be one. The error holds nothing of it.
func (c Client) Check() error {
	switch {
	case !isName(c.ID):
		return errors.New("the id is not 1 to 255 printable characters")
	case fhir.CheckID(c.Tenant) != nil || strings.Trim(c.Tenant, ".") == "":
		return errors.New("the tenant is not made of letters, digits, hyphens and dots, or is of dots alone")
	case c.Method == ByHeader:
		return c.checkHeader()
	case c.Method == ByBearer:
		if c.SecretHash != "" || len(c.Users) > 0 || len(c.Scopes) > 0 {
			return errors.New("with the method bearer there is no secret, no user and no scope: the token says whom it is for and what it allows")
		}
		return nil
	}
	return fmt.Errorf("the method is neither %s nor %s", ByHeader, ByBearer)
}

func (c Client) checkHeader() error {
	if !isHeaderName(c.ID) {
		return errors.New("the id cannot be sent as a header: it is not of visible ASCII characters")
	}
	for i, user := range c.Users {
		switch {
		case !isHeaderName(user):
			return errors.New("a user cannot be named in a header: it is not 1 to 255 visible ASCII characters")
		case user == c.ID:
			return errors.New("a user has the client's own id; a request that names no user is the client's own")
		case slices.Contains(c.Users[:i], user):
			return errors.New("a user is there twice")
		}
	}
	if slices.ContainsFunc(c.Scopes, func(s string) bool { return s == "" || strings.ContainsRune(s, ' ') }) {
		return errors.New("a scope is empty, or holds a space")
	}
	if _, _, ok := parsePHC(c.SecretHash); !ok {
		return errors.New("the hash of the secret is not one of argon2id with m=19456, t=2, p=1; give the client a new secret")
	}
	return nil
}

// isHeaderName tells whether s names a client or a user in a header without
// loss.
func isHeaderName(s string) bool {
	return isName(s) && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// CheckScope refuses a scope that would grant nothing to a client with header
// credentials: one that is misspelt, one of patient/, as no patient is chosen
// with such credentials, and one with a query. known is as in ParseScopes; a
// scope for purges may have any vendor.
func CheckScope(scope string, known func(string) bool) error {
	_, rest, _ := strings.Cut(scope, "/")
	vendor, _, _ := strings.Cut(rest, "/")
	s := ParseScopes(scope, known, vendor)
	s.purge.patient = false
	if s.empty() {
		return fmt.Errorf("the scope %q would grant nothing: write such as system/*.read, system/Patient.cruds, user/Observation.rs or system/$patient-purge", scope)
	}
	return nil
}

// Clients are clients by their ids. ParseClients makes some.
type Clients map[string]Client

// clientList is the file of clients.
type clientList struct {
	Clients []Client `json:"clients"`
}

// ParseClients reads what Format wrote, or a person by its example. It is
// strict: an unknown member, a name that is there twice, or a client that fails
// Check makes all of it unreadable. No error holds anything of the text; it
// names the line, or the place in the list, from 1 on.
func ParseClients(text []byte) (Clients, error) {
	var list clientList
	if err := json.Unmarshal(text, &list, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("auth: line %d is not as the list of clients must be", lineOf(text, err))
	}
	if list.Clients == nil {
		return nil, errors.New(`auth: there is no list "clients"`)
	}
	all := Clients{}
	for i, c := range list.Clients {
		err := c.Check()
		if _, twice := all[c.ID]; twice {
			err = errors.New("the id is that of another one")
		}
		if err != nil {
			return nil, fmt.Errorf("auth: client %d of the list: %w", i+1, err)
		}
		all[c.ID] = c
	}
	return all, nil
}

// lineOf is the line where an error of json is.
func lineOf(text []byte, err error) int {
	at := int64(len(text))
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		at = syntax.ByteOffset
	} else if meaning := (*json.SemanticError)(nil); errors.As(err, &meaning) {
		at = meaning.ByteOffset
	}
	return 1 + strings.Count(string(text[:min(at, int64(len(text)))]), "\n")
}

// Format gives the text of which ParseClients makes c again, sorted by id.
func (c Clients) Format() ([]byte, error) {
	list := clientList{Clients: c.Sorted()}
	text, err := json.Marshal(list, jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("auth: write the list of clients: %w", err)
	}
	return append(text, '\n'), nil
}

// Sorted gives the clients by id.
func (c Clients) Sorted() []Client {
	list := make([]Client, 0, len(c))
	for _, id := range slices.Sorted(maps.Keys(c)) {
		list = append(list, c[id])
	}
	return list
}
