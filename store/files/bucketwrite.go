package files

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"gocloud.dev/blob"
)

const (
	// partSize is the least that S3 takes for a part; 10,000 parts are the most
	// it takes for an object, so that a file has 48 GiB at most. A writer holds
	// three parts at its start and two later: one that is sent, one that is
	// filled, and the first, for which the manager has a buffer of its own.
	partSize = 5 << 20

	// abortTime is how long a writer that failed or was aborted tries to have
	// the server forget the parts.
	abortTime = 10 * time.Second
)

// bucketWriter writes an object. What is written is sent by the way, from the
// first full part on as a multipart upload.
type bucketWriter struct {
	object *blob.Writer
	ctx    context.Context
	cancel context.CancelFunc
	done   bool
}

// Create is Files. A file of less than a part is sent by Commit, and nothing is
// asked of the server before.
func (b *Bucket) Create(ctx context.Context, name string) (Writer, error) {
	key, err := b.key(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w, err := b.blobs.NewWriter(ctx, key, b.writing(key, false))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("files: create: %w", err)
	}
	return &bucketWriter{object: w, ctx: ctx, cancel: cancel}, nil
}

// write writes a small object, if once only where there is none.
func (b *Bucket) write(ctx context.Context, key string, content []byte, once bool) error {
	return b.blobs.WriteAll(ctx, key, content, b.writing(key, once))
}

// writing replaces the upload manager of a writer by one that holds less, and
// that aborts an upload though the writer's context has ended. The key is the
// one that it is: blobs writes "__0x" in it in another way.
func (b *Bucket) writing(key string, once bool) *blob.WriterOptions {
	return &blob.WriterOptions{ContentType: mediaType, IfNotExist: once, BeforeWrite: func(as func(any) bool) error {
		var manager *transfermanager.Client
		var object *transfermanager.UploadObjectInput
		if !as(&manager) || !as(&object) {
			return errors.New("files: no upload manager")
		}
		object.Key = &key
		*manager = *transfermanager.New(b.client, func(o *transfermanager.Options) {
			o.PartSizeBytes, o.MultipartUploadThreshold, o.Concurrency = partSize, partSize, 1
			o.FailTimeout = abortTime
			o.RequestChecksumCalculation = b.client.Options().RequestChecksumCalculation
		})
		return nil
	}}
}

// Write is io.Writer. An error of the server may come with a later call.
func (w *bucketWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.object.Write(p)
	return n, w.failed(err)
}

// Commit is Writer.
func (w *bucketWriter) Commit() error {
	defer w.cancel()
	w.done = true
	return w.failed(w.object.Close())
}

// failed says of an error of the server that it is the context's, if it is.
func (w *bucketWriter) failed(err error) error {
	if err == nil {
		return nil
	}
	if ended := w.ctx.Err(); ended != nil {
		return fmt.Errorf("files: write: %w", ended)
	}
	return fmt.Errorf("files: write: %w", err)
}

// Abort is Writer. It takes as long as the server needs to forget the parts,
// and not longer than abortTime.
func (w *bucketWriter) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.cancel()           // from here on, no request completes the object
	_ = w.object.Close() // its content is not wanted
}
