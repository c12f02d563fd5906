package history

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/epmesh/epmesh/plugins/internal/durable"
	"golang.org/x/sys/unix"
)

// A journal is the events of a segment that is not full, in order of arrival.
//
//	magic, length u32, checksum u32, of: base u64, names of the watched paths
//	records: length of the body u32, checksum u32 of what follows, time i64,
//	         arrived i64, body

var journalMagic = []byte("epmhjnl1")

const (
	journalFixed = 16
	recordHeader = 24
)

// journal is a journal file that is written and read.
type journal struct {
	path string
	file *os.File
	size int64 // what is good; only who writes looks
}

// createJournal makes an empty journal, in the place of one that is there.
func createJournal(path string, base uint64, p Paths) (*journal, error) {
	payload := binary.LittleEndian.AppendUint64(nil, base)
	payload = appendNames(appendNames(payload, p.Terms), p.Words)
	head := append([]byte{}, journalMagic...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(payload)))
	head = binary.LittleEndian.AppendUint32(head, checksum(payload))
	head = append(head, payload...)
	if err := durable.WriteFile(path, func(f *os.File) error { _, err := f.Write(head); return err }); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &journal{path: path, file: f, size: int64(len(head))}, nil
}

func appendRecord(to []byte, when, arrived int64, body []byte) []byte {
	begin := len(to)
	to = binary.LittleEndian.AppendUint32(to, uint32(len(body)))
	to = append(to, 0, 0, 0, 0)
	to = binary.LittleEndian.AppendUint64(to, uint64(when))
	to = binary.LittleEndian.AppendUint64(to, uint64(arrived))
	to = append(to, body...)
	binary.LittleEndian.PutUint32(to[begin+4:], checksum(to[begin+8:]))
	return to
}

// append writes whole records, or nothing. What it returns an error for is not
// in the journal, unless cut cannot be done either: then the journal is broken.
func (j *journal) append(records []byte, sync bool) (broken bool, err error) {
	_, err = j.file.WriteAt(records, j.size)
	if err == nil && sync {
		err = j.sync()
	}
	if err != nil {
		return j.file.Truncate(j.size) != nil, err
	}
	j.size += int64(len(records))
	return false, nil
}

func (j *journal) sync() error { return unix.Fdatasync(int(j.file.Fd())) }

// record reads the body of the record between two offsets.
func (j *journal) record(from, to int64) ([]byte, error) {
	b := make([]byte, to-from)
	if _, err := j.file.ReadAt(b, from); err != nil {
		return nil, err
	}
	if len(b) < recordHeader || checksum(b[8:]) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, damaged("the checksum of a record at %d is wrong", from)
	}
	return b[recordHeader:], nil
}

// parseJournal reads a journal up to the first record that is not whole or that
// take refuses, and tells where that is.
func parseJournal(data []byte, begin func(base uint64, p Paths), take func(when, arrived int64, body []byte) error) (good int64, err error) {
	if len(data) < journalFixed || !bytes.HasPrefix(data, journalMagic) {
		return 0, damaged("it does not begin as a journal does")
	}
	rest := data[journalFixed:]
	length := binary.LittleEndian.Uint32(data[8:])
	if uint64(length) > uint64(len(rest)) || length < 8 || checksum(rest[:length]) != binary.LittleEndian.Uint32(data[12:]) {
		return 0, damaged("the checksum of its beginning is wrong")
	}
	head := rest[:length]
	rest = rest[length:]
	var p Paths
	var ok, too bool
	p.Terms, head, ok = cutNames(head[8:])
	p.Words, _, too = cutNames(head)
	if !ok || !too {
		return 0, damaged("its paths end early")
	}
	begin(binary.LittleEndian.Uint64(data[journalFixed:]), p)
	for len(rest) > 0 {
		good = int64(len(data) - len(rest))
		if len(rest) < recordHeader {
			return good, damaged("a record ends early")
		}
		length := binary.LittleEndian.Uint32(rest)
		if length > maxEventSize || int(length) > len(rest)-recordHeader {
			return good, damaged("a record ends early")
		}
		record := rest[:recordHeader+int(length)]
		if checksum(record[8:]) != binary.LittleEndian.Uint32(record[4:]) {
			return good, damaged("the checksum of a record is wrong")
		}
		when, arrived := int64(binary.LittleEndian.Uint64(record[8:])), int64(binary.LittleEndian.Uint64(record[16:]))
		if err := take(when, arrived, record[recordHeader:]); err != nil {
			return good, fmt.Errorf("record: %w", err)
		}
		rest = rest[len(record):]
	}
	return int64(len(data)), nil
}
