// Package webtest drives a real browser through our pages in a test: it opens
// them, types, clicks, takes pictures, and holds the test to it that no page
// writes an error to the console or breaks the content policy.
package webtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// Sizes of the pictures: a desk and a phone.
const (
	Desk  = 1400
	Phone = 390
)

// patience is how long a step may take, on a machine that does other things too.
const patience = time.Minute

// Browser is one tab of a headless Chromium. Its methods end the test when
// something goes wrong.
type Browser struct {
	t   testing.TB
	ctx context.Context

	// How the page is shown. To change that costs more than a picture of it.
	width, height int64
	dark          bool

	mu       sync.Mutex
	problems []string
}

// Open starts a Chromium with a profile of its own that accepts the server's
// self-signed certificate. It ends with the test, which then fails when any
// page wrote an error to the console.
func Open(t testing.TB) *Browser {
	t.Helper()
	path, err := find()
	if err != nil {
		t.Fatal("no Chromium found; Debian has it as the package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // tests run as root
		chromedp.DisableGPU,
		chromedp.IgnoreCertErrors,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en"),
	)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	ctx, closeTab := chromedp.NewContext(ctx)
	b := &Browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		closeTab()
		stop()
		cancel()
		for _, p := range b.Problems() {
			t.Errorf("the browser complains: %s", p)
		}
	})
	b.must(chromedp.Do(ctx, chromedp.Navigate("about:blank")))
	b.must(chromedp.Listen(ctx, b.listen))
	b.Size(Desk, 900)
	b.prefer("light")
	return b
}

func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// listen notes what a page should never cause.
func (b *Browser) listen(event any) {
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || strings.Contains(e.Entry.Text, "Content Security Policy") {
			b.note(e.Entry.Text + " " + e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.note(text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			b.note("console: " + string(e.Type))
		}
	}
}

func (b *Browser) note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, text)
}

// Problems are the complaints since the last call; reading them forgives them.
func (b *Browser) Problems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.problems
	b.problems = nil
	return p
}

func (b *Browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// Size sets the window's width and height.
func (b *Browser) Size(width, height int64) {
	b.t.Helper()
	if b.width == width && b.height == height {
		return
	}
	var options []chromedp.EmulateViewportOption
	if width < 600 {
		options = append(options, chromedp.EmulateMobile)
	}
	b.must(chromedp.Do(b.ctx, chromedp.EmulateViewport(width, height, options...)))
	b.width, b.height = width, height
}

// Width is the window's.
func (b *Browser) Width() int64 { return b.width }

// Dark makes the system prefer dark colours, or light ones.
func (b *Browser) Dark(dark bool) {
	b.t.Helper()
	if b.dark != dark {
		b.prefer(map[bool]string{false: "light", true: "dark"}[dark])
		b.dark = dark
	}
}

func (b *Browser) prefer(colours string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		// A picture is not to be taken in the middle of a change of colours.
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	b.must(err)
}

// Go opens an address and waits until it is loaded.
func (b *Browser) Go(url string) {
	b.t.Helper()
	b.must(chromedp.Do(b.ctx, chromedp.Navigate(url)))
	b.drawn()
}

// Enter opens an address that leads on to another page by itself; Arrive and
// Await wait for that.
func (b *Browser) Enter(url string) {
	b.t.Helper()
	b.must(chromedp.Do(b.ctx, chromedp.Navigate(url)))
}

// drawn waits until the page has been drawn once: only then does the field
// that asks for it have the focus.
func (b *Browser) drawn() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	b.must(chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](
		`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))`, chromedp.EvalAwaitPromise)))
}

// Arrive waits until a page whose address contains at has come by itself.
func (b *Browser) Arrive(at string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		// A page that is just being left answers nothing.
		url, err := chromedp.Run(ctx, chromedp.Location())
		if err == nil && strings.Contains(url, at) && chromedp.Do(ctx, chromedp.WaitReady(chromedp.CSS("body"))) == nil {
			b.drawn()
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("waiting for %s: at %s the page shows:\n%s", at, b.URL(), b.Text())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Await waits until a JavaScript expression is true of a page that changes by
// itself.
func (b *Browser) Await(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		// A page that is just being left has nothing to ask.
		if is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")")); err == nil && is {
			b.drawn()
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("waiting for %s: at %s the page shows:\n%s", expression, b.URL(), b.Text())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// leave does something that leads to another page, and waits for that page.
func (b *Browser) leave(step chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, step)); err != nil {
		b.t.Fatalf("leaving the page: %v; it shows:\n%s", err, b.Text())
	}
	b.drawn()
}

// Type types keys into whatever has the focus; "\t" and "\r" are keys too.
func (b *Browser) Type(keys string) {
	b.t.Helper()
	b.must(chromedp.Do(b.ctx, chromedp.KeyEvent(keys)))
}

// Submit types keys that lead to another page, and waits until it is loaded.
func (b *Browser) Submit(keys string) {
	b.t.Helper()
	b.leave(chromedp.KeyEvent(keys))
}

// Fill sets the field that the CSS selector finds.
func (b *Browser) Fill(selector, value string) {
	b.t.Helper()
	b.must(chromedp.Do(b.ctx, chromedp.SetValue(chromedp.CSS(selector), value)))
}

// Follow clicks on something that leads to another page, and waits for it.
func (b *Browser) Follow(selector string) {
	b.t.Helper()
	b.leave(chromedp.Click(chromedp.CSS(selector)))
}

// Click clicks on something that stays on the page.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.must(chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS(selector))))
}

// Eval evaluates a JavaScript expression in the page.
func Eval[T any](b *Browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	b.must(err)
	return v
}

// Resolve evaluates a JavaScript expression in the page whose value comes later.
func Resolve[T any](b *Browser, promise string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](promise, chromedp.EvalAwaitPromise))
	b.must(err)
	return v
}

// Text is what the page shows.
func (b *Browser) Text() string {
	b.t.Helper()
	return Eval[string](b, `document.body?.innerText ?? ""`) // a page that just comes has none
}

// URL is the address of the page.
func (b *Browser) URL() string {
	b.t.Helper()
	url, err := chromedp.Run(b.ctx, chromedp.Location())
	b.must(err)
	return url
}

// Shot takes a picture of the whole page to the file name.png in dir, and none
// where dir is empty.
func (b *Browser) Shot(dir, name string) {
	b.t.Helper()
	if dir == "" {
		return
	}
	// What lies below the window costs several times what the window does, and a
	// small file twice what a large one does.
	beyond := Eval[bool](b, "document.documentElement.scrollHeight > innerHeight")
	fast := true
	picture, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: &beyond, OptimizeForSpeed: &fast,
	})
	b.must(err)
	b.must(os.MkdirAll(dir, 0o755))
	b.must(os.WriteFile(filepath.Join(dir, name+".png"), picture.Data, 0o644))
}

// ForgetCookies deletes the cookies of the browser.
func (b *Browser) ForgetCookies() {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, network.ClearBrowserCookies, cdp.Empty{})
	b.must(err)
}

// Authenticator plugs in a device that makes and holds passkeys, and sees its
// owner whenever it is asked to.
func (b *Browser) Authenticator() {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{})
	b.must(err)
	_, err = chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}})
	b.must(err)
}
