package ledger

// MaxBatch is how many entries are written at once.
const MaxBatch = maxBatch

// Fault has a function called before each write and each sync of the file; what
// it returns is what becomes of them.
func (l *Ledger) Fault(f func(what string) error) { l.f = faulty{l.f, f} }

// faulty is a file that may fail.
type faulty struct {
	File
	f func(what string) error
}

// WriteAt writes half of b, if it is to fail.
func (x faulty) WriteAt(b []byte, at int64) (int, error) {
	if err := x.f("write"); err != nil {
		n, _ := x.File.WriteAt(b[:len(b)/2], at)
		return n, err
	}
	return x.File.WriteAt(b, at)
}

// Sync is File.
func (x faulty) Sync() error {
	if err := x.f("sync"); err != nil {
		return err
	}
	return x.File.Sync()
}
