package fetch

import (
	"bytes"
	"context"
	"net/http"
)

// Put sends a resource to its address below the base, "Patient/p", once, and returns the status and the body of the
// answer. An error is a CredentialsError, or tells that there was no answer to read.
func (c *Client) Put(ctx context.Context, address string, resource []byte) (status int, body []byte, err error) {
	header := http.Header{"Content-Type": {"application/fhir+json"}, "Prefer": {"return=minimal"}}
	a, err := c.sendBody(ctx, http.MethodPut, c.base.String()+"/"+address, header, bytes.NewReader(resource))
	return a.status, a.body, err
}
