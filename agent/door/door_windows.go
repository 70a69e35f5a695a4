package door

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

const (
	// Root is whoever has all rights.
	Root = systemSID
	// Administrators own what is Root's in the file system.
	Administrators = administratorsSID
)

// Self is the user of this process.
func Self() string {
	self, err := userOf(windows.GetCurrentProcessToken(), windows.Token(0))
	if err != nil {
		return "" // nobody: no peer is called so
	}
	return self
}

// userOf names the user of a token. asks is the same user as the system can be
// asked about their rights: the token of a thread that acts as them, or none for
// this process's own.
func userOf(token, asks windows.Token) (string, error) {
	administrators, err := windows.StringToSid(administratorsSID)
	if err != nil {
		return "", err
	}
	// Of an administrator who did not ask for these rights this is false.
	if all, err := asks.IsMember(administrators); err != nil {
		return "", err
	} else if all {
		return Root, nil
	}
	user, err := token.GetTokenUser()
	if err != nil {
		return "", err
	}
	return user.User.Sid.String(), nil
}

// Listen opens a door at path. It fails where somebody else listens already.
func Listen(path string, who For) (net.Listener, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("asking who this process is: %w", err)
	}
	return winio.ListenPipe(pipeName(path), &winio.PipeConfig{
		SecurityDescriptor: descriptor(user.User.Sid.String(), who),
		MessageMode:        true, // so that one side can end and still hear the other
		InputBufferSize:    64 << 10,
		OutputBufferSize:   64 << 10,
	})
}

// Dial knocks at the door at path. Whoever listens may learn who knocks, and
// cannot act as them.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	conn, err := winio.DialPipeAccessImpLevel(ctx, pipeName(path), knock, winio.PipeImpLevelIdentification)
	if err != nil {
		return nil, err
	}
	if err := opened(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// opened refuses a pipe that somebody else has opened.
func opened(conn net.Conn) error {
	handle, err := handleOf(conn)
	if err != nil {
		return err
	}
	d, err := windows.GetSecurityInfo(handle, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("asking whose pipe it is: %w", err)
	}
	owner, _, err := d.Owner()
	if err != nil {
		return fmt.Errorf("asking whose pipe it is: %w", err)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	if !opener(owner.String(), user.User.Sid.String()) {
		return fmt.Errorf("the pipe belongs to %s", owner)
	}
	return nil
}

func handleOf(conn net.Conn) (windows.Handle, error) {
	f, ok := conn.(interface{ Fd() uintptr })
	if !ok {
		return 0, fmt.Errorf("a %T is no pipe", conn)
	}
	return windows.Handle(f.Fd()), nil
}

var impersonate = windows.NewLazySystemDLL("advapi32.dll").NewProc("ImpersonateNamedPipeClient")

// Peer asks the system which user is at the other end. For that this thread acts
// as them for a moment: a process id could have been given to somebody else by
// the time it is looked up.
func Peer(conn net.Conn) (id string, err error) {
	handle, err := handleOf(conn)
	if err != nil {
		return "", err
	}
	runtime.LockOSThread()
	if ok, _, err := impersonate.Call(uintptr(handle)); ok == 0 {
		runtime.UnlockOSThread()
		return "", fmt.Errorf("asking who asks: %w", err)
	}
	defer func() {
		// A thread that cannot become itself again ends with its goroutine.
		if back := windows.RevertToSelf(); back != nil {
			id, err = "", fmt.Errorf("asking who asks: %w", back)
			return
		}
		runtime.UnlockOSThread()
	}()
	var token windows.Token
	if err := windows.OpenThreadToken(windows.CurrentThread(), windows.TOKEN_QUERY, true, &token); err != nil {
		return "", fmt.Errorf("asking who asks: %w", err)
	}
	defer token.Close()
	return userOf(token, token)
}
