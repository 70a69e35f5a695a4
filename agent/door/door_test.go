package door_test

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/agent/door"
)

// Both ends know each other, and nobody else can stand at the door.
func TestDoor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.sock")
	l, err := door.Listen(path, door.Everybody)
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			said <- err.Error()
			return
		}
		defer conn.Close()
		who, err := door.Peer(conn)
		if err != nil {
			said <- err.Error()
			return
		}
		io.WriteString(conn, "hello "+who)
		text, _ := io.ReadAll(conn)
		said <- string(text)
	}()
	conn, err := door.Dial(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := "hello " + door.Self()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want || door.Self() == "" {
		t.Errorf("heard %q, %v, want %q", got, err, want)
	}
	// Whoever ends their side can still hear the other.
	io.WriteString(conn, "bye")
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if got := <-said; got != "bye" {
		t.Errorf("the other end heard %q", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := door.Dial(context.Background(), path); err == nil {
		t.Error("a door that is closed can be dialled")
	}
	if _, err := door.Peer(struct{ net.Conn }{}); err == nil {
		t.Error("what is no door has a user")
	}
}
