package connection

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/dop251/goja"
)

// A proxy script comes from a network that may be anybody's, often by plain HTTP,
// and an interpreter in this process cannot be held to a limit: a million
// brackets end it, a pattern can be matched for years. So each script is asked in
// a process of its own, which has a second, little memory, and one line to say.
const (
	childArg     = "run-proxy-script"
	scriptTime   = time.Second     // for the script, looking names up included
	childTime    = 5 * time.Second // for the process, which may start slowly
	scriptMemory = 256 << 20
	scriptStack  = 64 << 20
	maxAnswer    = 64 << 10
)

// question is what the process is asked.
type question struct {
	Source string    `json:"source"`
	URL    string    `json:"url"`
	Host   string    `json:"host"`
	Now    time.Time `json:"now,omitzero"` // the clock, when it is another one
}

// reply is what it says.
type reply struct {
	Answer string `json:"answer"`
	Error  string `json:"error,omitempty"`
}

// ready is set when this program knows how to be the process.
var ready bool

// Main belongs first into the main function of a program that asks proxy
// scripts: it runs one, and ends the program, when that is what it was started
// for.
func Main() {
	if len(os.Args) != 2 || os.Args[1] != childArg {
		ready = true
		return
	}
	answer(os.Stdin, os.Stdout)
	os.Exit(0)
}

// ask runs a script in a process of its own.
func ask(ctx context.Context, q question) (string, error) {
	if !ready {
		return "", errors.New("this program does not run proxy scripts")
	}
	in, err := json.Marshal(q)
	if err != nil {
		return "", fmt.Errorf("encoding a proxy script: %w", err)
	}
	program, err := self()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, childTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, childArg)
	hide(cmd)
	cmd.Stdin = bytes.NewReader(in)
	out := &limited{left: maxAnswer}
	cmd.Stdout = out
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var r reply
	if decoded := json.Unmarshal(out.Bytes(), &r); decoded != nil {
		return "", fmt.Errorf("it ends what runs it: %w", cmp.Or(err, decoded))
	}
	if r.Error != "" {
		return "", errors.New(r.Error)
	}
	return r.Answer, nil
}

// self is this program, even when its file has been replaced meanwhile.
func self() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	return path, nil
}

// limited keeps the beginning of what is written to it.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.Buffer.Write(p[:n])
	return len(p), nil
}

// answer reads a question, asks its script, and writes the reply.
func answer(in io.Reader, out io.Writer) {
	debug.SetMaxStack(scriptStack)
	end := func(r reply) { json.NewEncoder(out).Encode(r) }
	var q question
	if err := json.NewDecoder(in).Decode(&q); err != nil {
		end(reply{Error: err.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	done := make(chan reply, 1)
	go func() { done <- run(ctx, q) }()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case r := <-done:
			end(r)
			return
		case <-ctx.Done():
			end(reply{Error: "it takes longer than a second"})
			return
		case <-look.C:
			if memory() > scriptMemory {
				end(reply{Error: "it needs more than 256 MiB"})
				return
			}
		}
	}
}

// memory is what the heap takes.
func memory() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// run asks a script.
func run(ctx context.Context, q question) (r reply) {
	defer func() {
		if p := recover(); p != nil {
			r = reply{Error: fmt.Sprint("it cannot be run: ", p)}
		}
	}()
	vm := goja.New()
	f := functions{ctx: ctx, now: time.Now}
	if !q.Now.IsZero() {
		f.now = func() time.Time { return q.Now }
	}
	if err := f.define(vm); err != nil {
		return reply{Error: err.Error()}
	}
	if _, err := vm.RunScript("proxy.pac", q.Source); err != nil {
		return reply{Error: err.Error()}
	}
	find, ok := goja.AssertFunction(vm.Get("FindProxyForURL"))
	if !ok {
		return reply{Error: "it has no function FindProxyForURL"}
	}
	value, err := find(goja.Undefined(), vm.ToValue(q.URL), vm.ToValue(q.Host))
	switch {
	case err != nil:
		return reply{Error: err.Error()}
	case goja.IsUndefined(value) || goja.IsNull(value):
		return reply{}
	}
	return reply{Answer: value.String()}
}
