package fhirhttp

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"firebreak/fhir"

	"github.com/labstack/echo/v4"
)

// Origin is how the server finds out under which URL its clients see it. The
// zero value believes the request's own Host and nobody else.
type Origin struct {
	// PublicBase is the FHIR base as clients write it, such as
	// "https://ehr.example.org/fhir". Where it is set, headers are not read.
	PublicBase string
	// Trusted are the proxies whose X-Forwarded-Host, -Proto, -Port, -Prefix,
	// -For or Forwarded header is believed: of a list, the last value, which is
	// the nearest proxy's own. A trusted proxy must set these or remove them.
	Trusted []netip.Prefix
}

// Check refuses a PublicBase that is not an http or https URL ending in Root.
func (o Origin) Check() error {
	if o.PublicBase == "" {
		return nil
	}
	u, err := url.Parse(o.PublicBase)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || !isHost(u.Host):
		return errors.New("the public base is not an http or https URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return errors.New("the public base has a user, a query or a fragment")
	case !strings.HasSuffix(u.Path, Root):
		return errors.New("the public base does not end in " + Root)
	}
	return nil
}

const baseName = "fhirhttp.base"

// Base is the absolute base URL of the server as this client sees it, without a
// slash at the end: "https://ehr.example.org/fhir".
func Base(c echo.Context) string {
	base, ok := c.Get(baseName).(string)
	if !ok {
		panic("fhirhttp: Base without Install")
	}
	return base
}

func (o Origin) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		base := o.PublicBase
		if base == "" {
			seen, err := o.seen(c.Request())
			if err != nil {
				return err
			}
			base = seen.String()
		}
		c.Set(baseName, base)
		return next(c)
	}
}

// address is where a client sees the server.
type address struct{ scheme, host, prefix string }

// String gives the base URL.
func (a address) String() string { return a.scheme + "://" + a.host + a.prefix + Root }

// seen reads the address from the request, and from what a trusted proxy says.
func (o Origin) seen(r *http.Request) (address, error) {
	a := address{scheme: "http", host: r.Host}
	if r.TLS != nil {
		a.scheme = "https"
	}
	if a.host == "" { // HTTP/1.0
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			a.host = local.String()
		}
	}
	if o.trusts(r.RemoteAddr) {
		a = a.forwarded(r.Header)
	}
	if !isHost(a.host) {
		return a, fhir.Errorf(fhir.Invalid, "the Host header is not the name of a host")
	}
	return a, nil
}

// ClientAddr is the address that r comes from: of the peer or, where that is a
// trusted proxy, of the last one before it, as X-Forwarded-For or Forwarded has
// it, that is no trusted proxy. What cannot be read is passed over, with all
// before it. The zero Addr is for a peer that has none, such as a Unix socket.
func (o Origin) ClientAddr(r *http.Request) netip.Addr {
	addr := addrOf(r.RemoteAddr)
	before := splitList(r.Header.Values("X-Forwarded-For"), ',')
	if len(before) == 0 {
		before = forwardedFor(r.Header)
	}
	for _, text := range slices.Backward(before) {
		next := addrOf(text)
		if !o.trustsAddr(addr) || !next.IsValid() {
			break
		}
		addr = next
	}
	return addr
}

// addrOf reads an address with or without a port.
func addrOf(s string) netip.Addr {
	peer, err := netip.ParseAddrPort(s)
	addr := peer.Addr()
	if err != nil {
		addr, _ = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")) // else the zero Addr
	}
	return addr.Unmap().WithZone("")
}

// forwardedFor lists whom Forwarded (RFC 7239) has requests come from.
func forwardedFor(h http.Header) []string {
	var list []string
	for _, element := range splitList(h.Values("Forwarded"), ',') {
		from := ""
		for _, pair := range splitList([]string{element}, ';') {
			if name, value := splitPair(pair); name == "for" {
				from = value
			}
		}
		list = append(list, from)
	}
	return list
}

func (o Origin) trusts(remote string) bool { return o.trustsAddr(addrOf(remote)) }

func (o Origin) trustsAddr(addr netip.Addr) bool {
	return slices.ContainsFunc(o.Trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// forwarded is the address after what a proxy says; words that cannot be one
// are passed over.
func (a address) forwarded(h http.Header) address {
	host, scheme := lastOf(h, "X-Forwarded-Host"), lastOf(h, "X-Forwarded-Proto")
	if host == "" && scheme == "" {
		host, scheme = lastForwarded(h)
	}
	if scheme = strings.ToLower(scheme); scheme == "http" || scheme == "https" {
		a.scheme = scheme
	}
	if isHost(host) {
		a.host = host
	}
	if port := lastOf(h, "X-Forwarded-Port"); isPort(port) && !hasPort(a.host) && !a.usualPort(port) {
		a.host += ":" + port
	}
	if prefix := strings.TrimSuffix(lastOf(h, "X-Forwarded-Prefix"), "/"); isPrefix(prefix) {
		a.prefix = prefix
	}
	return a
}

func (a address) usualPort(port string) bool {
	return a.scheme == "https" && port == "443" || a.scheme == "http" && port == "80"
}

// lastOf is the last value of a list header, "" for none.
func lastOf(h http.Header, name string) string {
	list := splitList(h.Values(name), ',')
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

// lastForwarded reads the last element of Forwarded (RFC 7239).
func lastForwarded(h http.Header) (host, scheme string) {
	for _, pair := range splitList([]string{lastOf(h, "Forwarded")}, ';') {
		name, value := splitPair(pair)
		switch name {
		case "host":
			host = value
		case "proto":
			scheme = value
		}
	}
	return host, scheme
}

// isHost tells whether s is a name or an IP address, perhaps with a port.
func isHost(s string) bool {
	if len(s) == 0 || len(s) > 255 {
		return false
	}
	if hasPort(s) {
		host, port, err := net.SplitHostPort(s)
		if err != nil || !isPort(port) {
			return false
		}
		if s[0] == '[' {
			return isIPv6(host)
		}
		s = host
	} else if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && isIPv6(inner)
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && s[i] != '.' && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return s != ""
}

func isIPv6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

func hasPort(host string) bool {
	return strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']')
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// isPrefix tells whether s is "/a/b", of plain characters.
func isPrefix(s string) bool {
	if !strings.HasPrefix(s, "/") || strings.Contains(s, "//") || len(s) > 255 || !safeSteps(s) {
		return false
	}
	for i := range len(s) {
		if s[i] != '/' && !isPlain(s[i]) {
			return false
		}
	}
	return true
}
