package fhir

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// FileIntegrityURL names the extension member by which this server states the size and the checksum of a file
// in a manifest.
const FileIntegrityURL = "https://firebreak.dev/fhir/StructureDefinition/file-integrity"

// Manifest is the answer of a finished bulk export (Bulk Data STU2 and STU3).
//
// Written, output and error are always present, "[]" when there is nothing in them, and deleted is left out when
// empty. Read, transactionTime must be an instant and every file must have a type and a url; members that are
// unknown, and those that other servers leave out, are no error.
type Manifest struct {
	// TransactionTime is a FHIR instant, kept as the server wrote it: it is what the next export's _since takes.
	TransactionTime string `json:"transactionTime"`
	// Request is the full URL of the kick-off.
	Request string `json:"request"`
	// RequiresAccessToken says whether the files are to be asked for with a bearer token.
	RequiresAccessToken bool           `json:"requiresAccessToken"`
	Output              []ManifestFile `json:"output"`
	Deleted             []ManifestFile `json:"deleted,omitempty"`
	Error               []ManifestFile `json:"error"`
	// Link has one "next" when the manifest is a page of several, which only happens with allowPartialManifests.
	Link []ManifestLink `json:"link,omitempty"`
	// Extension is whatever the server added, an object (STU2, STU3) or an array (STU4), unread.
	Extension json.RawMessage `json:"extension,omitempty"`
}

// ManifestLink points from one page of a manifest to another.
type ManifestLink struct {
	Relation string `json:"relation"`
	URL      string `json:"url"`
}

// ManifestFile is one ndjson file of a manifest.
type ManifestFile struct {
	Type string `json:"type"`
	URL  string `json:"url"`
	// Count is the number of resources in the file; nil when the server does not say.
	Count *int64 `json:"count,omitempty"`
	// Extension is nil when there is none; reading a foreign extension gives an empty one.
	Extension *ManifestFileExtension `json:"extension,omitempty"`
}

// ManifestFileExtension is the extension object of a file. What other servers put there is passed over.
type ManifestFileExtension struct {
	Integrity *FileIntegrity
}

// FileIntegrity states what the bytes of a file are, before any Content-Encoding.
type FileIntegrity struct {
	// Size is in bytes.
	Size int64 `json:"size"`
	// SHA256 is in lower-case hexadecimal.
	SHA256 string `json:"sha256"`
}

// MarshalJSON writes the manifest with output and error present even when they are empty.
func (m Manifest) MarshalJSON() ([]byte, error) {
	type plain Manifest
	p := plain(m)
	if p.Output == nil {
		p.Output = []ManifestFile{}
	}
	if p.Error == nil {
		p.Error = []ManifestFile{}
	}
	// URLs are full of ampersands: whether they are escaped is left to whoever encodes the manifest.
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// UnmarshalJSON reads a manifest of any server, and refuses one that a client could not act on.
func (m *Manifest) UnmarshalJSON(data []byte) error {
	type plain Manifest
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if _, err := ParseInstant(p.TransactionTime); err != nil {
		return fmt.Errorf("manifest: transactionTime: %w", err)
	}
	*m = Manifest(p)
	return nil
}

// UnmarshalJSON reads one file and refuses it without a type or a url.
func (f *ManifestFile) UnmarshalJSON(data []byte) error {
	type plain ManifestFile
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	switch {
	case p.Type == "":
		return errors.New("a file without a type")
	case p.URL == "":
		return errors.New("a file without a url")
	case p.Count != nil && *p.Count < 0:
		return errors.New("a file with a negative count")
	}
	*f = ManifestFile(p)
	return nil
}

// MarshalJSON writes an object with one member, or an empty one.
func (x ManifestFileExtension) MarshalJSON() ([]byte, error) {
	members := map[string]*FileIntegrity{}
	if x.Integrity != nil {
		members[FileIntegrityURL] = x.Integrity
	}
	return json.Marshal(members)
}

// UnmarshalJSON takes the member that it knows. Other members, and an extension that is no object, are passed
// over; a broken statement of integrity is an error, as it must not count as none.
func (x *ManifestFileExtension) UnmarshalJSON(data []byte) error {
	*x = ManifestFileExtension{}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil || members[FileIntegrityURL] == nil {
		return nil
	}
	var stated FileIntegrity
	if err := json.Unmarshal(members[FileIntegrityURL], &stated); err != nil {
		return fmt.Errorf("file integrity: %w", err)
	}
	stated.SHA256 = strings.ToLower(stated.SHA256)
	if sum, err := hex.DecodeString(stated.SHA256); err != nil || len(sum) != 32 || stated.Size < 0 {
		return errors.New("file integrity: not a size and a SHA-256 in hexadecimal")
	}
	x.Integrity = &stated
	return nil
}
