// Package files keeps the bytes of export parts and archives: in a local
// directory, or in a bucket. It does not know what is in them.
package files

import (
	"context"
	"errors"
	"io"
)

// ErrNotFound is what Open answers when there is no such file.
var ErrNotFound = errors.New("files: there is no such file")

// Files keeps files. A name is FOLDER/NAME, of letters, digits, '.', '-', '_'.
type Files interface {
	// Create begins a new file. It is seen by nobody before Commit.
	Create(ctx context.Context, name string) (Writer, error)
	// Open opens a file for reading from any place; ErrNotFound.
	Open(ctx context.Context, name string) (File, error)
	// Remove removes files, begun ones too, durably. What is not there is no error.
	Remove(ctx context.Context, names ...string) error
	// Folders lists the folders there are, in no order.
	Folders(ctx context.Context) ([]string, error)
	// Names lists the names of the files in a folder, begun ones too; none of
	// a folder that is not there.
	Names(ctx context.Context, folder string) ([]string, error)
	// RemoveFolder removes a folder with all its files, begun ones too. What
	// is not there is no error.
	RemoveFolder(ctx context.Context, folder string) error
}

// Writer writes a file.
type Writer interface {
	io.Writer
	// Commit makes the file durable under its name; replaces an older one.
	Commit() error
	// Abort gives the file up. After Commit it does nothing.
	Abort()
}

// File is an open file.
type File interface {
	io.ReadSeekCloser
	// Size is its length in bytes.
	Size() int64
}
