// Package passwords knows what a password is: how it is hashed and compared,
// which ones a policy takes, and how one is made that can be read out.
package passwords

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/backstay/backstay/errs"
)

const (
	minLength = 8
	maxLength = 256
	saltSize  = 16
	hashSize  = 32

	worthCollecting = 8 << 10 // KiB
)

// Hasher makes and checks password hashes: Argon2id, with its parameters in the
// hash itself as a PHC string. Each run takes the memory of its parameters, so
// few run at once, some wait, and the others are told that the server is busy.
// It is safe for concurrent use; a server has one.
type Hasher struct {
	Time    uint32 // passes over the memory, 3 when 0
	Memory  uint32 // KiB, 65,536 when 0
	AtOnce  int    // runs at the same time, 2 when 0
	Waiting int    // more than these are refused with E1402, 64 when 0

	once    sync.Once
	slots   chan struct{}
	waiting atomic.Int64
	dummy   string
}

func (h *Hasher) setDefaults() {
	h.once.Do(func() {
		if h.Time == 0 {
			h.Time = 3
		}
		if h.Memory == 0 {
			h.Memory = 64 << 10
		}
		if h.AtOnce == 0 {
			h.AtOnce = 2
		}
		if h.Waiting == 0 {
			h.Waiting = 64
		}
		h.slots = make(chan struct{}, h.AtOnce)
		// What is checked when there is no account: as dear as a real one,
		// and no password has it.
		h.dummy = phc(h.Memory, h.Time, 1, make([]byte, saltSize), random(hashSize))
	})
}

// run takes a slot, f, and gives it back.
func (h *Hasher) run(ctx context.Context, f func()) error {
	h.setDefaults()
	if h.waiting.Add(1) > int64(h.Waiting+h.AtOnce) {
		h.waiting.Add(-1)
		return errs.Of(errs.ServerBusy, "n", 1)
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.slots }()
	f()
	// Argon2's 64 MiB would stay, and let the collector wait until as much again
	// is garbage: measured after one login, a long download grew the server by
	// 62 MiB, and with this not at all. It costs a hundredth of the hash; of a
	// cheap one in a test it would be most.
	if h.Memory >= worthCollecting {
		runtime.GC()
	}
	return nil
}

// Check refuses what cannot be a password. The named policies come on
// top of it.
func Check(password string) error {
	switch n := utf8.RuneCountInString(norm.NFC.String(password)); {
	case n < minLength:
		return errs.New(errs.Invalid, "user.password.short", "n", minLength)
	case n > maxLength:
		return errs.New(errs.Invalid, "user.password.long", "n", maxLength)
	}
	return nil
}

// Hash makes the hash of a new password. It takes a tenth of a second and
// belongs outside of transactions. A password is taken as it is, after NFC: not
// trimmed, not cut.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := Check(password); err != nil {
		return "", err
	}
	var hash string
	err := h.run(ctx, func() {
		salt := random(saltSize)
		hash = phc(h.Memory, h.Time, 1, salt, argon2.IDKey([]byte(norm.NFC.String(password)), salt, h.Time, h.Memory, 1, hashSize))
	})
	return hash, err
}

// The parameters of HashRandom.
const (
	lightTime   = 1
	lightMemory = 8 // KiB
)

// HashRandom is Hash for a secret of Readable's. Nobody tries out 71 random
// bits however cheap a try is, so that thousands of users can be given one at
// once. Verify takes as long for it as for any other.
func (h *Hasher) HashRandom(secret string) string {
	salt := random(saltSize)
	return phc(lightMemory, lightTime, 1, salt, argon2.IDKey([]byte(secret), salt, lightTime, lightMemory, 1, hashSize))
}

// Verify reports whether password is the one that hash was made from. With an
// empty hash, a cheaper one, or a password that none can be, it takes as long
// as with one of Hash, and says no where it must.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	h.setDefaults()
	possible := hash != ""
	if !possible {
		hash = h.dummy
	}
	if len(password) > 4*maxLength || utf8.RuneCountInString(norm.NFC.String(password)) > maxLength {
		possible, password = false, ""
	}
	memory, passes, threads, salt, want, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	var same bool
	err = h.run(ctx, func() {
		got := argon2.IDKey([]byte(norm.NFC.String(password)), salt, passes, memory, threads, uint32(len(want)))
		same = subtle.ConstantTimeCompare(got, want) == 1
		if memory < h.Memory || passes < h.Time {
			argon2.IDKey([]byte(norm.NFC.String(password)), salt, h.Time, h.Memory, 1, hashSize)
		}
	})
	return same && possible, err
}

func phc(memory, passes uint32, threads uint8, salt, hash []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, threads,
		b64.EncodeToString(salt), b64.EncodeToString(hash))
}

// parsePHC reads what phc wrote. The bounds keep a hash that was brought in
// from elsewhere from taking all memory.
func parsePHC(s string) (memory, passes uint32, threads uint8, salt, hash []byte, err error) {
	wrong := func(reason string) (uint32, uint32, uint8, []byte, []byte, error) {
		return 0, 0, 0, nil, nil, fmt.Errorf("reading a password hash: %s", reason)
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return wrong("not argon2id")
	}
	var version int
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return wrong("unknown version")
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); n != 3 || err != nil {
		return wrong("no parameters")
	}
	if memory < 8 || memory > 1<<20 || passes < 1 || passes > 16 || threads < 1 || threads > 16 {
		return wrong("parameters out of bounds")
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(salt) < 8 || len(salt) > 64 {
		return wrong("no salt")
	}
	if hash, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(hash) < 16 || len(hash) > 64 {
		return wrong("no hash")
	}
	return memory, passes, threads, salt, hash, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
