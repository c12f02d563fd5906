// Protogen writes the Go of proto/*.proto with the pinned protoc-gen-go and
// protoc-gen-go-grpc of go.mod. It needs no protoc: protocompile reads the
// sources.
//
//	go generate ./proto            write the files into proto/
//	go run ./proto/protogen -out D write them into D
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

var sources = []string{"plugins.proto", "mesh.proto", "lane.proto", "history.proto"}

func main() {
	log.SetFlags(0)
	src := flag.String("src", ".", "folder of the .proto files")
	out := flag.String("out", "", "folder to write to (default: src)")
	flag.Parse()
	if *out == "" {
		*out = *src
	}
	req, err := request(*src)
	if err != nil {
		log.Fatalf("protogen: %v", err)
	}
	for _, tool := range []struct{ name, parameter string }{
		{"protoc-gen-go", ""},
		{"protoc-gen-go-grpc", "require_unimplemented_servers=false"},
	} {
		req.Parameter = proto.String(tool.parameter)
		if err := run(tool.name, req, *out); err != nil {
			log.Fatalf("protogen: %s: %v", tool.name, err)
		}
	}
}

// request is what protoc would send to a generator for the sources.
func request(dir string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), sources...)
	if err != nil {
		return nil, err
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: sources}
	seen := map[string]bool{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		req.ProtoFile = append(req.ProtoFile, descriptor(f))
	}
	for _, f := range files {
		add(f)
	}
	return req, nil
}

// descriptor keeps the comments of our own files; imports come without.
func descriptor(f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	if withSource, ok := f.(interface {
		FileDescriptorProto() *descriptorpb.FileDescriptorProto
	}); ok {
		return withSource.FileDescriptorProto()
	}
	return protodesc.ToFileDescriptorProto(f)
}

func run(tool string, req *pluginpb.CodeGeneratorRequest, out string) error {
	in, err := proto.Marshal(req)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", tool)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	answer, err := cmd.Output()
	if err != nil {
		return err
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(answer, &resp); err != nil {
		return err
	}
	if resp.Error != nil {
		return fmt.Errorf("%s", resp.GetError())
	}
	for _, f := range resp.File {
		name := filepath.Join(out, filepath.Base(f.GetName()))
		if err := os.WriteFile(name, []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
