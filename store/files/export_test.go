package files

// Disk and Handle are what a Dir stands on, for tests that put their own.
type (
	Disk   = disk
	Handle = handle
)

// NewDirOn is NewDir on a disk of the test's.
func NewDirOn(on Disk, root string) (Dir, error) { return newDir(on, root) }

// Real is the disk of the operating system.
func Real() Disk { return osDisk{} }
