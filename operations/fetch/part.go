package fetch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
)

const (
	partSuffix = ".part"
	markSuffix = ".part.json"
	markEvery  = 16 << 20 // bytes of a file that a crash may cost
	bufferSize = 64 << 10
)

// digest sees the bytes of a file go by, however long its lines are.
type digest struct {
	hash  hash.Hash
	size  int64
	lines int64 // that are not empty
	open  bool  // bytes have come since the last newline
}

func newDigest() *digest { return &digest{hash: sha256.New()} }

// Write takes the next bytes; it never fails.
func (d *digest) Write(p []byte) (int, error) {
	_, _ = d.hash.Write(p)
	d.size += int64(len(p))
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			d.open = true
			break
		}
		if i > 0 || d.open {
			d.lines++
		}
		d.open = false
		rest = rest[i+1:]
	}
	return len(p), nil
}

// resources counts the lines, a last one without a newline included.
func (d *digest) resources() int64 {
	if d.open {
		return d.lines + 1
	}
	return d.lines
}

func digestOf(f folder, name string) (*digest, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	d := newDigest()
	_, err = io.CopyBuffer(d, onlyReader{file}, make([]byte, bufferSize))
	return d, err
}

// onlyReader hides other methods, so that a copy uses the buffer it is given.
type onlyReader struct{ io.Reader }

// mark says what of a part may be relied on after a crash: bytes beyond Synced may be missing or zero.
type mark struct {
	ETag   string `json:"etag,omitempty"`
	Synced int64  `json:"synced"`
}

// part is a file that is being fetched. Its file position is its size, and so is its digest's.
type part struct {
	folder folder
	name   string
	file   *os.File
	sum    *digest
	mark   mark
}

// openPart continues the part if there is one.
func openPart(f folder, name string) (*part, error) {
	p := &part{folder: f, name: name, sum: newDigest()}
	if err := f.readJSON(name+markSuffix, &p.mark); err != nil {
		p.mark = mark{} // it was not worth more than the bytes that it vouches for
	}
	file, err := f.OpenFile(name+partSuffix, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	p.file = file
	if err := p.recall(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return p, nil
}

// recall cuts off what is not vouched for and reads the rest.
func (p *part) recall() error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < p.mark.Synced {
		p.mark = mark{}
	}
	if err := p.file.Truncate(p.mark.Synced); err != nil {
		return err
	}
	_, err = io.CopyBuffer(p.sum, onlyReader{p.file}, make([]byte, bufferSize))
	return err
}

// restart forgets all bytes; those that follow are of the given ETag.
func (p *part) restart(etag string) error {
	p.sum, p.mark = newDigest(), mark{ETag: etag}
	if err := p.unmark(); err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return p.file.Truncate(0)
}

// unmark makes sure that no crash brings back a mark of bytes that are about to go.
func (p *part) unmark() error {
	marked, err := p.folder.exists(p.name + markSuffix)
	if err != nil || !marked {
		return err
	}
	if err := p.folder.drop(p.name + markSuffix); err != nil {
		return err
	}
	return p.folder.sync()
}

// Write appends, and syncs once in a while.
func (p *part) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	_, _ = p.sum.Write(b[:n])
	if err == nil && p.sum.size-p.mark.Synced >= markEvery {
		err = p.keep()
	}
	return n, err
}

// keep makes sure that a later run can continue here.
func (p *part) keep() error {
	if p.sum.size == p.mark.Synced {
		return nil
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	p.mark.Synced = p.sum.size
	return p.folder.writeJSON(p.name+markSuffix, p.mark)
}

// publish gives the finished part its name.
func (p *part) publish() error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := p.folder.move(p.name+partSuffix, p.name); err != nil {
		return err
	}
	return p.folder.drop(p.name + markSuffix)
}
