package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// staticcheck is pinned like every module; a newer one may find more.
const staticcheck = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"

var checks = []struct {
	name string
	run  func(context.Context) error
}{
	{"gofmt", gofmt},
	{"modules are what go.sum says", tool("go", "mod", "verify")},
	{"go.mod is tidy", tool("go", "mod", "tidy", "-diff")},
	{"go vet", tool("go", "vet", "./...")},
	{"staticcheck", tool("go", "run", staticcheck, "./...")},
	{"all but our scripts is sound on Windows", crossVet("windows", "amd64")},
	{"all but our scripts is sound on macOS", crossVet("darwin", "arm64")},
	{"both programs build for Windows", cross("windows", "amd64", "./cmd/...")},
	{"both programs build for macOS", cross("darwin", "arm64", "./cmd/...")},
	{"formats build for the browser", cross("js", "wasm", "./backup/crypt", "./backup/catalog", "./backup/pack", "./backup/snapshot")},
	{"test vectors, by an independent reader", vectors},
}

// check runs all checks and returns the names of those that failed.
func check(ctx context.Context) []string {
	fmt.Println("== checks")
	var failed []string
	for _, c := range checks {
		began := time.Now()
		err := c.run(ctx)
		took := time.Since(began).Seconds()
		if err != nil {
			fmt.Printf("FAIL  %s (%.1fs)\n%v\n", c.name, took, err)
			failed = append(failed, "check: "+c.name)
			continue
		}
		fmt.Printf("ok    %s (%.1fs)\n", c.name, took)
	}
	return failed
}

func tool(name string, args ...string) func(context.Context) error {
	return func(ctx context.Context) error { return command(ctx, nil, name, args...) }
}

// crossVet looks at what another system sees of the programs and their tests.
func crossVet(system, arch string) func(context.Context) error {
	return func(ctx context.Context) error {
		env := []string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + arch}
		return command(ctx, env, "go", "vet", "./agent/...", "./backup/...", "./cli", "./cmd/...", "./durable", "./errs",
			"./locale", "./profile", "./server/...", "./version", "./web/...", "./wire/...")
	}
}

func cross(system, arch string, packages ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		env := []string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + arch}
		return command(ctx, env, "go", append([]string{"build", "-o", os.DevNull}, packages...)...)
	}
}

func gofmt(ctx context.Context) error {
	files, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "*.go").Output()
	if err != nil {
		return fmt.Errorf("listing files: %w", err)
	}
	args := append([]string{"-l"}, strings.Split(strings.TrimRight(string(files), "\x00"), "\x00")...)
	out, err := exec.CommandContext(ctx, "gofmt", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("gofmt: %w\n%s", err, out)
	}
	if len(out) > 0 {
		return errors.New("not formatted:\n" + string(out))
	}
	return nil
}

// vectors uses Debian's Python by its full name: its modules are Debian
// packages, which another Python in PATH would not see.
func vectors(ctx context.Context) error {
	return command(ctx, nil, "/usr/bin/python3", "testdata/vectors/check.py")
}
