package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An interrupted run says so, and writes nothing.
func TestTestInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a_test.yml")
	text := []byte("defaults: {dataType: t}\ncases: [{name: a, raw: b}]\n")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := testCmd{Files: []string{path}, Update: true, Timeout: time.Second}
	var out bytes.Buffer
	err := c.Run(&app{ctx: ctx, stdout: &out, stderr: &out})
	if err == nil || !strings.HasPrefix(err.Error(), "interrupted: ") || out.Len() > 0 {
		t.Errorf("error %v, output %q", err, out.String())
	}
	if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, text) {
		t.Errorf("the file was written: %v\n%s", err, left)
	}
}
