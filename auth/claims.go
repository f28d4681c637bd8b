package auth

import (
	"errors"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// claims are what a token says. Names are read exactly as written, and a name
// that is there twice makes the token unreadable.
type claims struct {
	Issuer    string         `json:"iss"`
	Subject   string         `json:"sub"`
	Audience  texts          `json:"aud"`
	Expires   *date          `json:"exp"`
	NotBefore *date          `json:"nbf"`
	Issued    *date          `json:"iat"`
	Party     string         `json:"azp"`
	ClientID  string         `json:"client_id"`
	Scope     texts          `json:"scope"`
	Scp       texts          `json:"scp"`
	Proof     jsontext.Value `json:"cnf"`

	// Others are the claims of other names.
	Others map[string]jsontext.Value `json:",embed"`
}

// readClaims reads the payload of a token. Nothing of it is believed yet.
func readClaims(payload []byte) (claims, error) {
	var c claims
	if json.Unmarshal(payload, &c) != nil { // its error would repeat the claims
		return c, errToken("the token's claims cannot be read")
	}
	return c, nil
}

// check refuses a token that is not the provider's word to this server, now.
func (c claims) check(cfg Config) error {
	now := cfg.Now()
	late, early := now.Add(-cfg.Skew), now.Add(cfg.Skew)
	switch {
	case c.Issuer != cfg.Issuer:
		return errToken("the token was issued by a provider that this server does not know")
	case !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(cfg.Audiences, a) }):
		return errToken("the token is meant for another server")
	case c.Expires == nil:
		return errToken("the token never expires; this server takes none such")
	case !late.Before(c.Expires.Time):
		return errToken("the token has expired; fetch a new one")
	case c.NotBefore != nil && early.Before(c.NotBefore.Time), c.Issued != nil && early.Before(c.Issued.Time):
		return errToken("the token is not valid yet; see that the clocks agree")
	case c.Proof != nil:
		return errToken("the token is bound to a key of its holder, which this server cannot check")
	}
	return nil
}

// client is the client that the token was issued to.
func (c claims) client() (string, error) {
	client := c.Party
	if client == "" {
		client = c.ClientID
	}
	switch {
	case client == "":
		return "", errToken("the token names no client, neither as azp nor as client_id")
	case !isName(client) || c.Subject != "" && !isName(c.Subject):
		return "", errToken("the token names a client or a user with a name that cannot be used here")
	}
	return client, nil
}

// isName tells whether s can name a client or a user: some printable text.
func isName(s string) bool {
	const longest = 255 // OpenID Connect Core, section 2, "sub"
	return s != "" && len(s) <= longest && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// scopes are the scopes with spaces between.
func (c claims) scopes() string {
	if c.Scope != nil {
		return strings.Join(c.Scope, " ")
	}
	return strings.Join(c.Scp, " ")
}

// text gives a claim that is none of those above, if it is a string that is not
// empty.
func (c claims) text(name string) (string, bool) {
	var s string
	err := json.Unmarshal(c.Others[name], &s)
	return s, err == nil && s != ""
}

// texts is a claim that is a string or a list of strings.
type texts []string

// UnmarshalJSON reads either.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// date is a NumericDate (RFC 7519, section 2): seconds, perhaps with a
// fraction.
type date struct{ time.Time }

// UnmarshalJSON reads a number of seconds between 1970 and the year 9999.
func (d *date) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return err
	}
	const lastSecond = 253402300799
	if seconds < 0 || seconds > lastSecond {
		return errors.New("not a time that a token could have")
	}
	whole, part := math.Modf(seconds)
	d.Time = time.Unix(int64(whole), int64(part*1e9))
	return nil
}
