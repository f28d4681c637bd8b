package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

// mediaType is what objects say they are: this package does not know.
const mediaType = "application/octet-stream"

// Bucket is a bucket of an S3 server, or what lies below a prefix in it. The
// object of a file has the key PREFIX/FOLDER/NAME.
//
// Each request is tried three times. There is no limit of time but that of the
// context.
type Bucket struct {
	blobs  *blob.Bucket // for writing
	client *s3.Client   // the same server, for all else
	name   string       // of the bucket
	prefix string       // of all keys: empty, or with a slash at its end
}

var _ Place = (*Bucket)(nil)

// NewBucket uses a bucket. The address is s3://BUCKET/PREFIX?region=REGION, the
// prefix optional, with the parameters that s3blob.URLOpener and
// gocloud.dev/aws.V2ConfigFromURLParams take: for a server that is not Amazon's
// endpoint=URL and often use_path_style=true. The credentials are those of the
// AWS environment, profile or machine; the address must not hold any.
//
// NewBucket writes, reads, lists and removes an object before it returns; where
// one of these fails, the error says which, and what is needed.
//
// What is below the prefix must be the server's alone. The bucket should keep
// no versions, as else what is removed stays as an older version, and it should
// have a lifecycle rule that ends incomplete multipart uploads after some days:
// servers differ in how well they list those.
func NewBucket(ctx context.Context, address string) (*Bucket, error) {
	u, prefix, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	b := &Bucket{name: u.Host, prefix: prefix}
	if b.blobs, err = new(s3blob.URLOpener).OpenBucketURL(ctx, u); err != nil {
		return nil, fmt.Errorf("files: open the bucket: %w", err)
	}
	if !b.blobs.As(&b.client) {
		return nil, errors.New("files: open the bucket: it has no S3 client")
	}
	if err := b.probe(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// parseAddress gives the URL for s3blob, which knows no prefix, and the prefix.
// Its errors do not show the address: it could hold a secret.
func parseAddress(address string) (bucket *url.URL, prefix string, err error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != s3blob.Scheme || u.Host == "" || u.Fragment != "":
		return nil, "", errors.New("files: the address of a bucket is s3://BUCKET/PREFIX?region=REGION&endpoint=URL, PREFIX and endpoint if needed")
	case u.User != nil:
		return nil, "", errors.New("files: credentials do not belong into the address of a bucket; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
	}
	if prefix = strings.Trim(u.Path, "/"); prefix != "" {
		prefix += "/"
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(prefix, "/"), "/") {
		if prefix != "" && !plain(segment) {
			return nil, "", fmt.Errorf("files: %q is no part of a bucket's prefix: letters, digits, '.', '-' and '_' are, without '.' first or last", segment)
		}
	}
	u.Path = ""
	return u, prefix, nil
}

// probe does once what is done all the time.
func (b *Bucket) probe(ctx context.Context) error {
	key := b.prefix + ".probe-" + rand.Text()
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"write an object", func() error { return b.write(ctx, key, []byte(key), false) }},
		{"read it", func() error { return b.readProbe(ctx, key) }},
		{"list objects", func() error { _, _, err := b.objects(ctx, key, "/"); return err }},
		{"list multipart uploads", func() error { _, _, err := b.uploads(ctx, key, "/"); return err }},
		{"remove the object", func() error { return b.remove(ctx, key) }},
	} {
		if err := step.do(); err != nil {
			_ = b.remove(context.WithoutCancel(ctx), key) // the error at hand is the one to show
			return fmt.Errorf("files: cannot %s in s3://%s/%s: %w; check region, endpoint and the AWS credentials of this process, and that they allow "+
				"s3:PutObject, s3:GetObject, s3:DeleteObject and s3:AbortMultipartUpload on the objects, s3:ListBucket and s3:ListBucketMultipartUploads on the bucket",
				step.what, b.name, b.prefix, err)
		}
	}
	return nil
}

// readProbe reads the object by the way that files are read, but for its start.
func (b *Bucket) readProbe(ctx context.Context, key string) error {
	f, err := b.open(ctx, key)
	if err != nil {
		return err
	}
	if _, err := f.Seek(1, io.SeekStart); err != nil {
		return err
	}
	got, err := io.ReadAll(f)
	if err == nil && string(got) != key[1:] {
		err = errors.New("what is read is not what was written, or no range of it")
	}
	return errors.Join(err, f.Close())
}

// key is the object of a file.
func (b *Bucket) key(name string) (string, error) {
	_, _, err := split(name)
	return b.prefix + name, err
}

// said tells whether the server answered with one of these codes.
func said(err error, codes ...string) bool {
	var answer smithy.APIError
	return errors.As(err, &answer) && slices.Contains(codes, answer.ErrorCode())
}
