package backup

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/errs"
)

func TestTextForms(t *testing.T) {
	t.Parallel()
	u, err := ParseUUID("01234567-89ab-cdef-0123-456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := u.String(), "01234567-89ab-cdef-0123-456789abcdef"; got != want {
		t.Errorf("String = %s, want %s", got, want)
	}
	if got, want := u.Hex(), "0123456789abcdef0123456789abcdef"; got != want {
		t.Errorf("Hex = %s, want %s", got, want)
	}
	for _, s := range []string{
		"", "0123456789abcdef0123456789abcdef", "01234567-89AB-cdef-0123-456789abcdef",
		"01234567-89ab-cdef-0123-456789abcdeg", "01234567+89ab-cdef-0123-456789abcdef", "{01234567-89ab-cdef-0123-456789abcde}",
	} {
		if _, err := ParseUUID(s); err == nil {
			t.Errorf("ParseUUID(%q) succeeded", s)
		}
	}
	hex := strings.Repeat("0f", 32)
	id, err := ParseID(hex)
	if err != nil || id.String() != hex {
		t.Errorf("ParseID = %v, %v", id, err)
	}
	h, err := ParseHash(hex)
	if err != nil || h.String() != hex || h.Short() != hex[:16] {
		t.Errorf("ParseHash = %v, %v", h, err)
	}
	for _, s := range []string{"", hex[2:], hex + "00", strings.ToUpper(hex), hex[1:] + "x"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q) succeeded", s)
		}
		if _, err := ParseHash(s); err == nil {
			t.Errorf("ParseHash(%q) succeeded", s)
		}
	}
	in := struct {
		U UUID
		I ID
		H Hash
	}{u, id, h}
	out := in
	out.U, out.I, out.H = UUID{}, ID{}, Hash{}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("JSON gave %v, %v", out, err)
	}
	for _, c := range []Class{ClassData, ClassMetadata} {
		if got, err := ParseClass(c.String()); err != nil || got != c {
			t.Errorf("ParseClass(%v) = %v, %v", c, got, err)
		}
	}
	if _, err := ParseClass("other"); err == nil {
		t.Error("ParseClass took an unknown class")
	}
	for k := Kind(0); k < 8; k++ {
		if k.Valid() != (k >= 1 && k <= 4) || (k.Class() == ClassData) != (k == Data) {
			t.Errorf("kind %d is wrongly placed", k)
		}
	}
}

// I7: a key does not get out by accident.
func TestKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	var key Key
	for i := range key {
		key[i] = 0x5a
	}
	ref := Ref{Key: key}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, key, &key, ref)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("test", "key", key, "ref", ref)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("test", "key", key, "ref", ref)
	b, err := json.Marshal(ref)
	if err == nil {
		t.Errorf("a ref has JSON: %s", b)
	}
	out.Write(b)
	for _, leak := range []string{"5a5a", "5A5A", "ZZ", "90 90", "90,90", "WlpaWl"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("a key was printed: %q in %s", leak, out.String())
		}
	}
}

func TestEncodeDecode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u8, u24, u32 := rapid.Uint8().Draw(t, "u8"), rapid.Uint32Max(1<<24-1).Draw(t, "u24"), rapid.Uint32().Draw(t, "u32")
		u64, i64 := rapid.Uint64().Draw(t, "u64"), rapid.Int64().Draw(t, "i64")
		raw, s := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "bytes"), rapid.String().Draw(t, "string")
		ref := Ref{ID: ID{1}, Key: Key{2}, Len: rapid.Uint32Max(MaxPlain).Draw(t, "len")}
		var e Encoder
		e.U8(u8)
		e.U24(u24)
		e.U32(u32)
		e.U64(u64)
		e.I64(i64)
		e.Bytes(raw)
		e.String(s)
		e.Ref(ref)
		e.Text("magic")
		d := NewDecoder("test", e.B)
		if d.U8() != u8 || d.U24() != u24 || d.U32() != u32 || d.U64() != u64 || d.I64() != i64 ||
			string(d.Bytes(50)) != string(raw) || d.String(math.MaxInt32) != s || d.Ref() != ref {
			t.Fatal("decoded to something else")
		}
		d.Magic("magic")
		if err := d.Finish(); err != nil {
			t.Fatal(err)
		}
		for n := range e.B {
			d := NewDecoder("test", e.B[:n])
			d.U8()
			d.U24()
			d.U32()
			d.U64()
			d.I64()
			d.Bytes(50)
			d.String(math.MaxInt32)
			d.Ref()
			d.Magic("magic")
			if err := d.Finish(); !errs.Is(err, errs.Mismatch) {
				t.Fatalf("%d bytes of %d decoded: %v", n, len(e.B), err)
			}
		}
	})
}

func TestDecoderKeepsLimits(t *testing.T) {
	t.Parallel()
	list := []byte{0, 0, 0, 3, 1, 2, 3, 4, 5, 6}
	tests := []struct {
		name string
		b    []byte
		read func(*Decoder)
		ok   bool
	}{
		{"bytes at the limit", []byte{0, 0, 0, 2, 1, 2}, func(d *Decoder) { d.Bytes(2) }, true},
		{"bytes over the limit", []byte{0, 0, 0, 2, 1, 2}, func(d *Decoder) { d.Bytes(1) }, false},
		{"bytes that are not there", []byte{255, 255, 255, 255, 1}, func(d *Decoder) { d.Bytes(math.MaxInt) }, false},
		{"count at the limit", list, func(d *Decoder) { d.Count(3, 2); d.Raw(6) }, true},
		{"count over the limit", list, func(d *Decoder) { d.Count(2, 2); d.Raw(6) }, false},
		{"count of more than is there", list, func(d *Decoder) { d.Count(3, 3); d.Raw(6) }, false},
		{"huge count", []byte{255, 255, 255, 255}, func(d *Decoder) { d.Count(math.MaxInt, math.MaxInt32) }, false},
		{"one, known", []byte{2}, func(d *Decoder) { d.One(1, 2) }, true},
		{"one, unknown", []byte{3}, func(d *Decoder) { d.One(1, 2) }, false},
		{"other magic", []byte("magic"), func(d *Decoder) { d.Magic("Magic") }, false},
		{"rest", []byte{1, 2}, func(d *Decoder) { d.U8() }, false},
		{"negative", []byte{1}, func(d *Decoder) { d.Raw(-1); d.U8() }, false},
		{"ref too long", append(make([]byte, 64), 0x00, 0x80, 0x00, 0x01), func(d *Decoder) { d.Ref() }, false},
		{"failed and empty", nil, func(d *Decoder) { d.Fail("for a reason") }, false},
	}
	for _, tt := range tests {
		d := NewDecoder("test", tt.b)
		tt.read(d)
		if err := d.Finish(); (err == nil) != tt.ok || d.Failed() == tt.ok || err != nil && !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %v, want ok %v", tt.name, err, tt.ok)
		}
	}
}
