package email

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
)

// record is a line of the file, after its checksum.
type record struct {
	Put  *kept    `json:"put,omitempty"`
	Sent []string `json:"sent,omitempty"`
}

// readLine is a line of bounded length; what is longer comes in parts, which are
// no records.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil, err == io.EOF && len(line) > 0, len(line) > maxRecord:
			return line, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func formatRecord(rec record) ([]byte, error) {
	text, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text), nil
}

func parseRecord(line []byte) (rec record, ok bool) {
	sum, text, found := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	if !found || len(sum) != 8 || !bytes.HasSuffix(line, []byte("\n")) ||
		string(sum) != fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) {
		return record{}, false
	}
	return rec, json.Unmarshal(text, &rec) == nil
}
