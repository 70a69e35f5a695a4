package wire_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/crypt"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/wire"
)

// store answers reads out of sealed objects, last asked first.
type store map[backup.ID]backup.Object

func (s store) read(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	n := int(binary.BigEndian.Uint32(body))
	if n > wire.MaxHave {
		refuse(w, 400, wire.Problem{})
		return
	}
	for i := n - 1; i >= 0; i-- {
		id := backup.ID(body[4+32*i:])
		o, ok := s[id]
		if !ok {
			w.Write(pack.AppendMissing(nil, id))
			continue
		}
		w.Write(append(pack.AppendHead(nil, o.Kind, id, len(o.Sealed)), o.Sealed...))
	}
}

// A token that the server takes no longer is replaced, and only what is missing
// is asked for again.
func TestFetchRenewsTheUsersToken(t *testing.T) {
	t.Parallel()
	user := backup.UUID{1}
	sealer := crypt.NewSealer(backup.Key{9}, user, crypt.Profile1)
	objects := store{}
	var refs []backup.Ref
	for i := range 3 {
		o, err := sealer.Seal(backup.Data, []byte(fmt.Sprint("chunk ", i)))
		if err != nil {
			t.Fatal(err)
		}
		objects[o.Ref.ID] = o
		refs = append(refs, o.Ref)
	}
	var tokens, reads atomic.Int64
	mux := device(nil)
	mux.HandleFunc("POST /agent/v1/user-token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, wire.Token{Token: fmt.Sprint("bsu_", tokens.Add(1)), ExpiresAt: time.Now().Add(time.Hour)})
	})
	mux.HandleFunc("POST /agent/v1/read", func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get(wire.HeaderUserToken)
		switch reads.Add(1) {
		case 1: // one record, then the connection breaks
			o := objects[refs[0].ID]
			w.Write(append(pack.AppendHead(nil, o.Kind, o.Ref.ID, len(o.Sealed)), o.Sealed...))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			if token == "bsu_1" {
				refuse(w, 401, wire.Problem{Key: "token.refused"})
				return
			}
			objects.read(w, r)
		}
	})
	s := serve(t, mux)
	s.Config.ErrorLog = discard
	u, err := client(t, s).Login(t.Context(), "password", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	err = u.Fetch(user, user)(t.Context(), backup.Data, refs, func(i int, _ []byte) error {
		got = append(got, i)
		return nil
	})
	slices.Sort(got)
	if err != nil || fmt.Sprint(got) != "[0 1 2]" || tokens.Load() != 2 {
		t.Errorf("Fetch gave %v, %v with %d tokens, want all three with 2", got, err, tokens.Load())
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	user, scope := backup.UUID{1}, backup.UUID{2}
	objects := store{}
	seal := func(s *crypt.Sealer, kind backup.Kind, text string) backup.Ref {
		o, err := s.Seal(kind, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		objects[o.Ref.ID] = o
		return o.Ref
	}
	// Content may be shared in a wider scope than the user's; metadata never is.
	data, metadata := crypt.NewSealer(backup.Key{9}, scope, crypt.Profile1), crypt.NewSealer(backup.Key{9}, user, crypt.Profile1)
	var refs []backup.Ref
	for i := range 2500 {
		refs = append(refs, seal(data, backup.Data, fmt.Sprint("chunk ", i)))
	}
	page := seal(metadata, backup.Page, "page")
	mux := device(nil)
	mux.HandleFunc("POST /agent/v1/user-token", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, wire.Token{Token: "bsu_x", ExpiresAt: time.Now().Add(time.Hour)})
	})
	mux.HandleFunc("POST /agent/v1/read", objects.read)
	u, err := client(t, serve(t, mux)).Login(t.Context(), "password", nil)
	if err != nil {
		t.Fatal(err)
	}
	fetch := u.Fetch(user, scope)

	got := make([]string, len(refs)+1)
	wanted := append(slices.Clone(refs), refs[7]) // one of them twice
	err = fetch(t.Context(), backup.Data, wanted, func(i int, plain []byte) error {
		if got[i] != "" {
			t.Errorf("ref %d came twice", i)
		}
		got[i] = string(plain)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range got {
		if want := fmt.Sprint("chunk ", i%2500); text != want && (i != 2500 || text != "chunk 7") {
			t.Errorf("ref %d gave %q, want %q", i, text, want)
		}
	}

	one := func(kind backup.Kind, ref backup.Ref) (text string, err error) {
		err = fetch(t.Context(), kind, []backup.Ref{ref, refs[0]}, func(i int, plain []byte) error {
			if i == 0 {
				text = string(plain)
			}
			return nil
		})
		return text, err
	}
	if text, err := one(backup.Page, page); text != "page" || !errs.Is(err, errs.Mismatch) {
		t.Errorf("a page and a chunk asked for as pages: %q, %v, want the page and E1506 for the chunk", text, err)
	}
	lost := refs[1]
	delete(objects, lost.ID)
	if text, err := one(backup.Data, lost); text != "" || !errs.Is(err, errs.Mismatch) {
		t.Errorf("a lost object: %q, %v, want E1506", text, err)
	}
	bad := objects[refs[2].ID]
	bad.Sealed = slices.Clone(bad.Sealed)
	bad.Sealed[3] ^= 1
	objects[refs[2].ID] = bad
	if text, err := one(backup.Data, refs[2]); text != "" || !errs.Is(err, errs.Mismatch) {
		t.Errorf("a damaged object: %q, %v, want E1506", text, err)
	}
	// The key decides, not only the hash.
	wrong := refs[3]
	wrong.Key[0] ^= 1
	if text, err := one(backup.Data, wrong); text != "" || !errs.Is(err, errs.Mismatch) {
		t.Errorf("a wrong key: %q, %v, want E1506", text, err)
	}
}
