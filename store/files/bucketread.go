package files

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// bucketFile is an open object. Open costs one HEAD, and the first Read one
// GET from where it begins to the end; from there on nothing is read ahead but
// by the connection. Seek costs nothing, and the Read after it another GET if
// it begins elsewhere than the last one ended.
type bucketFile struct {
	bucket *Bucket
	ctx    context.Context
	key    string
	etag   *string
	size   int64
	at     int64         // where the next Read begins
	body   io.ReadCloser // stands at that place; nil if nothing is asked for
	got    int64         // what came of body
}

// Open is Files.
func (b *Bucket) Open(ctx context.Context, name string) (File, error) {
	key, err := b.key(name)
	if err != nil {
		return nil, err
	}
	return b.open(ctx, key)
}

func (b *Bucket) open(ctx context.Context, key string) (File, error) {
	info, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(b.name), Key: aws.String(key)})
	switch {
	case said(err, "NotFound", "NoSuchKey"):
		return nil, ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("files: open: %w", err)
	}
	return &bucketFile{bucket: b, ctx: ctx, key: key, etag: info.ETag, size: aws.ToInt64(info.ContentLength)}, nil
}

// Size is File.
func (f *bucketFile) Size() int64 { return f.size }

// Seek is io.Seeker.
func (f *bucketFile) Seek(offset int64, whence int) (int64, error) {
	to := offset
	switch whence {
	case io.SeekCurrent:
		to += f.at
	case io.SeekEnd:
		to += f.size
	}
	if to < 0 {
		return 0, fmt.Errorf("files: %d is no place in a file", to)
	}
	if to != f.at {
		f.drop()
	}
	f.at = to
	return to, nil
}

// Read is io.Reader. When the connection breaks, it asks for what is missing,
// as long as each answer has brought something.
func (f *bucketFile) Read(p []byte) (int, error) {
	for {
		if f.body == nil && f.at >= f.size {
			return 0, io.EOF
		}
		if err := f.ask(); err != nil {
			return 0, err
		}
		n, err := f.body.Read(p)
		f.at += int64(n)
		f.got += int64(n)
		switch {
		case err == nil, err == io.EOF && f.at >= f.size:
			return n, err
		case f.at >= f.size, f.got == 0, f.ctx.Err() != nil:
			return n, fmt.Errorf("files: read: %w", cut(err))
		}
		if f.drop(); n > 0 {
			return n, nil
		}
	}
}

// cut is what an end of the file is before its end.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ask asks for the rest of the file, if that was not done, and of no file but
// the one that was opened.
func (f *bucketFile) ask() error {
	if f.body != nil {
		return nil
	}
	in := &s3.GetObjectInput{Bucket: aws.String(f.bucket.name), Key: aws.String(f.key), IfMatch: f.etag}
	if f.at > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", f.at))
	}
	answer, err := f.bucket.client.GetObject(f.ctx, in, func(o *s3.Options) {
		o.DisableLogOutputChecksumValidationSkipped = true // there is none of a range, or of several parts
	})
	switch {
	case said(err, "NotFound", "NoSuchKey"):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("files: read: %w", err)
	}
	f.body, f.got = answer.Body, 0
	return nil
}

func (f *bucketFile) drop() {
	if f.body != nil {
		_ = f.body.Close() // it was only read
		f.body = nil
	}
}

// Close is io.Closer. What was not read is not waited for.
func (f *bucketFile) Close() error {
	f.drop()
	return nil
}
