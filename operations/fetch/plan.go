package fetch

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"firebreak/fhir"
)

// Section is the list of the manifest that a file is in.
type Section string

// The three sections.
const (
	SectionOutput  Section = "output"
	SectionDeleted Section = "deleted"
	SectionError   Section = "error"
)

// item is one file to fetch.
type item struct {
	fhir.ManifestFile
	section Section
	url     *url.URL
	name    string // in the directory
}

// plan lists the files of a manifest and names them.
func plan(done Completed) ([]item, error) {
	m := done.Manifest
	if len(m.Link) > 0 {
		return nil, errors.New("the manifest is a page of several, which is not supported: " +
			"leave out allowPartialManifests")
	}
	base, err := url.Parse(done.StatusURL)
	if err != nil {
		return nil, bare(err)
	}
	var items []item
	for _, list := range []struct {
		section Section
		files   []fhir.ManifestFile
	}{{SectionOutput, m.Output}, {SectionDeleted, m.Deleted}, {SectionError, m.Error}} {
		for i, file := range list.files {
			u, err := base.Parse(file.URL)
			if err != nil || !isHTTP(u) {
				return nil, fmt.Errorf("the URL of file %d in the manifest's %s is not one of http or https",
					i+1, list.section)
			}
			items = append(items, item{ManifestFile: file, section: list.section, url: u})
		}
	}
	nameAll(items)
	return items, nil
}

// nameAll names each file after the end of its URL, if that is safe and no other's; else by its type, numbered from 1.
func nameAll(items []item) {
	users := map[string]int{} // in lower case, for file systems that do not tell the cases apart
	for _, it := range items {
		users[strings.ToLower(path.Base(it.url.Path))]++
	}
	numbers := map[string]int{}
	for i := range items {
		it := &items[i]
		it.name = path.Base(it.url.Path)
		if isSafeName(it.name) && users[strings.ToLower(it.name)] == 1 {
			continue
		}
		word := safeType(it.Type)
		for taken := 1; taken > 0; taken = users[strings.ToLower(it.name)] {
			numbers[word]++
			it.name = fmt.Sprintf("%d.%s.ndjson", numbers[word], word)
		}
		users[strings.ToLower(it.name)]++
	}
}

// isSafeName is true for plain visible names that are none of ours.
func isSafeName(name string) bool {
	lower := strings.ToLower(name)
	return name != "" && len(name) <= 200 && name[0] != '.' &&
		strings.IndexFunc(name, isUnsafe) < 0 &&
		lower != ManifestName && lower != StateName &&
		!strings.HasSuffix(lower, ".") && !strings.HasSuffix(lower, tempSuffix) &&
		!strings.HasSuffix(lower, partSuffix) && !strings.HasSuffix(lower, markSuffix)
}

func isUnsafe(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
}

// safeType is the type as part of a name: the manifest may say anything there.
func safeType(t string) string {
	if len(t) <= 64 && !strings.ContainsAny(t, "._-") && strings.IndexFunc(t, isUnsafe) < 0 {
		return t
	}
	return "Unknown"
}

func (it item) integrity() *fhir.FileIntegrity {
	if it.Extension == nil {
		return nil
	}
	return it.Extension.Integrity
}

// MismatchError is a file that is not what the manifest says it is.
type MismatchError struct {
	File string
	// What is "size", "sha256" or "count".
	What      string
	Want, Got string
}

// Error names the file, and what was expected and got.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is not the file of the manifest: expected %s %s, got %s", e.File, e.What, e.Want, e.Got)
}

func (it item) mismatch(what string, want, got any) error {
	return &MismatchError{File: it.name, What: what, Want: fmt.Sprint(want), Got: fmt.Sprint(got)}
}

// check compares a whole file with what the manifest states.
func (it item) check(sum *digest) error {
	if stated := it.integrity(); stated != nil {
		if sum.size != stated.Size {
			return it.mismatch("size", stated.Size, sum.size)
		}
		if got := hex.EncodeToString(sum.hash.Sum(nil)); got != stated.SHA256 {
			return it.mismatch("sha256", stated.SHA256, got)
		}
	}
	if it.Count != nil && *it.Count != sum.resources() {
		return it.mismatch("count", *it.Count, sum.resources())
	}
	return nil
}
