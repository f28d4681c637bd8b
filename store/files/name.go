package files

import (
	"fmt"
	"strings"
)

// begun marks a file that was not committed.
const begun = ".begun"

// split gives the folder and the file of a name, or refuses it.
func split(name string) (folder, file string, err error) {
	folder, file, ok := strings.Cut(name, "/")
	if !ok || !plain(folder) || !plain(file) {
		return "", "", fmt.Errorf("files: %q is no name of a file", name)
	}
	return folder, file, nil
}

// checkFolder refuses what is no name of a folder.
func checkFolder(folder string) error {
	if !plain(folder) {
		return fmt.Errorf("files: %q is no name of a folder", folder)
	}
	return nil
}

// plain tells whether s is a name without any power: no separators, no dot
// first or last.
func plain(s string) bool {
	if s == "" || len(s) > 200 || s[0] == '.' || s[len(s)-1] == '.' || strings.HasSuffix(s, begun) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	}) < 0
}
