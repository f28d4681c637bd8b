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

// Files keeps files. A name is FOLDER/NAME, each of 1 to 200 letters, digits,
// '.', '-' and '_', without a '.' first or last and without ".begun" last. Any
// other is an error before the disk or the server is asked.
//
// A begun file is one that is neither committed nor aborted, also where its
// process has died. Of a begun file a disk has all that was written. A bucket
// has nothing of it until a first part of some MiB is full; till then there is
// nothing to list or to remove, and nothing that a dead process leaves behind.
type Files interface {
	// Create begins a new file. It is seen by nobody before Commit. When the
	// context ends, writing and Commit may end with its error.
	Create(ctx context.Context, name string) (Writer, error)
	// Open opens a file for reading from any place; ErrNotFound. When the
	// context ends, reading may end with its error.
	Open(ctx context.Context, name string) (File, error)
	// Remove removes files, begun ones too, durably. What is not there is no
	// error. It goes on after an error with the names that are left.
	Remove(ctx context.Context, names ...string) error
	// Folders lists the folders there are, each once, in no order. One whose
	// files were removed one by one may be among them.
	Folders(ctx context.Context) ([]string, error)
	// Names lists the names of the files in a folder, begun ones too, each
	// once, in no order; none of a folder that is not there.
	Names(ctx context.Context, folder string) ([]string, error)
	// RemoveFolder removes a folder with all its files, begun ones too,
	// durably. What is not there is no error.
	//
	// Who is writing a file that is removed, or whose folder is, must expect an
	// error, or that Commit brings it back. A part that a bucket is being sent
	// when its file is removed or aborted may be left; then the file is listed
	// as a begun one, and goes when it is removed again.
	RemoveFolder(ctx context.Context, folder string) error
}

// Place is Files that knows which place it is.
type Place interface {
	Files
	// Identity gives the id of the place: the same to all who use it, however
	// they reach it, and another for any other place. The first to ask gives it
	// one of the form of a folder's name, from fresh, which must give another
	// each time. It is kept beside the folders, where no name leads, and no
	// list shows it. Those who ask first at once get the same id, or an error.
	Identity(ctx context.Context, fresh func() string) (string, error)
}

// Writer writes a file. It is for one goroutine, and ends with Commit or Abort.
type Writer interface {
	io.Writer
	// Commit makes the file durable under its name; replaces an older one.
	// After an error the file may be there, whole, or not.
	Commit() error
	// Abort gives the file up. After Commit or Abort it does nothing. Where the
	// disk or the server fails, what is left stays begun.
	Abort()
}

// File is an open file, for one goroutine. What it reads is the file as it was
// when it was opened. Where another has removed or replaced that, reading goes
// on or ends in an error; it never gives the bytes of another file.
type File interface {
	io.ReadSeekCloser
	// Size is its length in bytes.
	Size() int64
}
