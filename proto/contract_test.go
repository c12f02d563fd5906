package pb_test

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/epmesh/epmesh/integration/shared"
	pb "github.com/epmesh/epmesh/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// plugins.proto has exactly the services, messages, fields, numbers, types and
// JSON names of the contract's tables, which are not part of the project.
func TestContract(t *testing.T) {
	want := readContract(t)
	got := describe(pb.File_plugins_proto)
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("plugins.proto lacks  %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("plugins.proto has beyond the contract  %s", line)
		}
	}
	if len(want) < 250 {
		t.Errorf("only %d lines were read from the contract", len(want))
	}
	if file := pb.File_plugins_proto; file.Package() != "plugins" || file.Syntax() != protoreflect.Proto3 {
		t.Errorf("package %s, syntax %s", file.Package(), file.Syntax())
	}
}

// A line for each thing that the contract fixes, in one form for both sides.
func messageLine(name string) string { return "message " + name }

func fieldLine(message, number, name, typ, json string) string {
	return fmt.Sprintf("field %s.%s = %s %s json %s", message, name, number, typ, json)
}

func methodLine(service, name, request, response string) string {
	return fmt.Sprintf("rpc %s.%s(%s) %s", service, name, request, response)
}

func describe(file protoreflect.FileDescriptor) []string {
	var lines []string
	for i := range file.Messages().Len() {
		m := file.Messages().Get(i)
		lines = append(lines, messageLine(string(m.Name())))
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			lines = append(lines, fieldLine(string(m.Name()), fmt.Sprint(f.Number()), string(f.Name()), fieldType(f), f.JSONName()))
		}
	}
	for i := range file.Services().Len() {
		s := file.Services().Get(i)
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			lines = append(lines, methodLine(string(s.Name()), string(m.Name()),
				streamed(m.IsStreamingClient(), m.Input()), streamed(m.IsStreamingServer(), m.Output())))
		}
	}
	return lines
}

func streamed(stream bool, m protoreflect.MessageDescriptor) string {
	if stream {
		return "stream of " + typeName(m.FullName())
	}
	return typeName(m.FullName())
}

func fieldType(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return fmt.Sprintf("map<%s, %s>", single(f.MapKey()), single(f.MapValue()))
	}
	if f.IsList() {
		return "repeated " + single(f)
	}
	return single(f)
}

func single(f protoreflect.FieldDescriptor) string {
	if f.Message() != nil {
		return typeName(f.Message().FullName())
	}
	return f.Kind().String()
}

func typeName(name protoreflect.FullName) string { return strings.TrimPrefix(string(name), "plugins.") }

var inTicks = regexp.MustCompile("`([^`]+)`")

// readContract reads the tables of wire.md.
func readContract(t *testing.T) []string {
	t.Helper()
	f, err := os.Open(shared.Dir(t, "contract", "wire.md"))
	if err != nil {
		t.Skipf("the contract is not there to compare with: %v", err)
	}
	defer f.Close()
	plain := func(cell string) string { return strings.TrimSpace(inTicks.ReplaceAllString(cell, "$1")) }
	var lines []string
	message, services := "", false
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case strings.HasPrefix(line, "## "):
			services, message = line == "## Services", ""
		case strings.HasPrefix(line, "### "):
			message = plain(strings.TrimPrefix(line, "### "))
			lines = append(lines, messageLine(message))
		case !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| no.") || strings.HasPrefix(line, "| service"):
		case services:
			c := cells(line)
			lines = append(lines, methodLine(plain(c[0]), plain(c[1]), plain(c[2]), plain(c[3])))
		case message != "":
			c := cells(line)
			name := plain(c[1])
			lines = append(lines, fieldLine(message, plain(c[0]), name, plain(c[2]), cmp.Or(plain(c[3]), name)))
		}
	}
	return lines
}

func cells(line string) []string { return strings.Split(strings.Trim(line, "|"), "|") }
