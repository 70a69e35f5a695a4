package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/errs"
)

var head = Head{Class: backup.ClassMetadata, Org: backup.UUID{1}, User: backup.UUID{2}, Device: backup.UUID{3}, Time: 4}

func object(n int, b byte) (backup.ID, []byte) {
	sealed := bytes.Repeat([]byte{b}, n)
	return sha256.Sum256(sealed), sealed
}

func write(t testing.TB, sizes ...int) ([]byte, []Entry) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, head)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range sizes {
		id, sealed := object(n, byte(i))
		if err := w.Add(backup.Kind(2+i%3), id, sealed); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if int64(out.Len()) != w.Size() {
		t.Errorf("Size = %d of %d bytes", w.Size(), out.Len())
	}
	return out.Bytes(), w.Entries()
}

func scan(b []byte) (Head, []Entry, error) {
	var entries []Entry
	h, err := Scan(bytes.NewReader(b), func(e Entry, sealed []byte) error {
		if !bytes.Equal(sealed, b[e.Offset:][:e.Len]) {
			return errors.New("the record lies elsewhere")
		}
		entries = append(entries, e)
		return nil
	})
	return h, entries, err
}

func TestWriteRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(minSealed, 5000), 1, 40).Draw(rt, "sizes")
		b, want := write(t, sizes...)
		h, got, err := ReadIndex(bytes.NewReader(b), int64(len(b)))
		if err != nil || h != head || !slices.Equal(got, want) {
			rt.Fatalf("ReadIndex = %v, %v, %v", h, got, err)
		}
		for i, e := range got {
			if _, sealed := object(sizes[i], byte(i)); !bytes.Equal(b[e.Offset:][:e.Len], sealed) {
				rt.Fatalf("entry %d points elsewhere", i)
			}
		}
		if h, got, err := scan(b); err != nil || h != head || !slices.Equal(got, want) {
			rt.Fatalf("Scan = %v, %v, %v", h, got, err)
		}
		// A torn pack gives its whole records, and no index.
		n := rapid.IntRange(HeadSize, len(b)-1).Draw(rt, "torn")
		if _, _, err := ReadIndex(bytes.NewReader(b[:n]), int64(n)); !errs.Is(err, errs.Mismatch) {
			rt.Fatalf("ReadIndex of a torn pack: %v, want E1506", err)
		}
		whole := 0
		for _, e := range want {
			if e.Offset+uint64(e.Len) <= uint64(n) {
				whole++
			}
		}
		if _, got, err := scan(b[:n]); err != nil || !slices.Equal(got, want[:whole]) {
			rt.Fatalf("Scan of %d bytes gave %d records and %v, want %d", n, len(got), err, whole)
		}
	})
}

// Every bit of head, index and tail is checked; those of records are by hash.
func TestIndexNoticesDamage(t *testing.T) {
	t.Parallel()
	b, want := write(t, 100, 200, 300)
	records := want[2].Offset + 300
	for i := range b {
		if i >= HeadSize && uint64(i) < records {
			continue
		}
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		if _, _, err := ReadIndex(bytes.NewReader(bad), int64(len(bad))); !errs.Is(err, errs.Mismatch) {
			t.Errorf("byte %d of %d: %v, want E1506", i, len(b), err)
		}
	}
	if _, _, err := ReadIndex(bytes.NewReader(append(b, 0)), int64(len(b)+1)); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a byte more: %v, want E1506", err)
	}
}

// An index with a good hash can still lie.
func TestIndexMustTellOfAllRecords(t *testing.T) {
	t.Parallel()
	b, entries := write(t, 100, 200)
	end := entries[1].Offset + uint64(entries[1].Len)
	remake := func(entries []Entry) []byte {
		e := backup.Encoder{}
		e.Count(len(entries))
		for _, en := range entries {
			e.U8(uint8(en.Kind))
			e.Raw(en.ID[:])
			e.U64(en.Offset)
			e.U32(en.Len)
		}
		sum := indexSum(b[:HeadSize], e.B)
		e.U64(end)
		e.Raw(sum[:])
		e.Text(tailMagic)
		return append(bytes.Clone(b[:end]), e.B...)
	}
	if _, _, err := ReadIndex(bytes.NewReader(remake(entries)), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	change := func(f func(e []Entry)) []Entry {
		e := slices.Clone(entries)
		f(e)
		return e
	}
	for name, bad := range map[string][]Entry{
		"one left out":  entries[1:],
		"last left out": entries[:1],
		"none":          {},
		"twice":         {entries[0], entries[0], entries[1]},
		"order":         {entries[1], entries[0]},
		"offset":        change(func(e []Entry) { e[0].Offset++ }),
		"length":        change(func(e []Entry) { e[0].Len-- }),
		"class":         change(func(e []Entry) { e[0].Kind = backup.Data }),
		"kind":          change(func(e []Entry) { e[0].Kind = 9 }),
		"empty object":  change(func(e []Entry) { e[1].Len = 0 }),
	} {
		p := remake(bad)
		if _, _, err := ReadIndex(bytes.NewReader(p), int64(len(p))); !errs.Is(err, errs.Mismatch) {
			t.Errorf("%s: %v, want E1506", name, err)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	if _, err := NewWriter(io.Discard, Head{Class: 3}); err == nil {
		t.Error("a class that is none")
	}
	w, err := NewWriter(io.Discard, head)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil {
		t.Error("a pack of nothing was closed")
	}
	id, sealed := object(100, 1)
	if err := w.Add(backup.Data, id, sealed); err == nil {
		t.Error("data among metadata")
	}
	if err := w.Add(backup.Missing, id, sealed); err == nil {
		t.Error("a record of no kind")
	}
	if err := w.Add(backup.Page, id, sealed[:minSealed-1]); err == nil {
		t.Error("a record too short for an object")
	}
	if err := w.Add(backup.Page, id, make([]byte, backup.MaxSealed+1)); err == nil {
		t.Error("a record too long for an object")
	}
	big := make([]byte, backup.MaxSealed)
	n := 0
	for ; err == nil; n++ {
		err = w.Add(backup.Page, id, big)
	}
	if !errors.Is(err, ErrFull) || n != 8 || w.Records() > backup.MaxPack {
		t.Errorf("record %d: %v with %d bytes, want the eighth to be one too many", n, err, w.Records())
	}
	if err := w.Add(backup.Page, id, sealed); err != nil {
		t.Errorf("after one that was too long: %v", err)
	}
	failing, err := NewWriter(&failAfter{100}, head)
	if err != nil {
		t.Fatal(err)
	}
	if err := failing.Add(backup.Page, id, sealed); err == nil {
		t.Error("the disk was full, and nobody said so")
	}
	if err := failing.Close(); err == nil {
		t.Error("a pack whose writing failed was closed")
	}
}

type failAfter struct{ n int }

func (f *failAfter) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return 0, errors.New("no space left")
	}
	return len(b), nil
}

func TestReaderOfAnswers(t *testing.T) {
	t.Parallel()
	id, sealed := object(50, 1)
	stream := AppendMissing(nil, id)
	stream = append(AppendHead(stream, backup.Data, id, len(sealed)), sealed...)
	r := NewReader(iotest.OneByteReader(bytes.NewReader(stream)), true)
	if rec, err := r.Next(); err != nil || rec.Kind != backup.Missing || rec.ID != id {
		t.Errorf("first: %v, %v", rec, err)
	}
	if rec, err := r.Next(); err != nil || rec.Kind != backup.Data || !bytes.Equal(rec.Sealed, sealed) {
		t.Errorf("second: %v, %v", rec, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("end: %v, want EOF", err)
	}
	if _, err := NewReader(bytes.NewReader(stream), false).Next(); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a missing record in a put: %v, want E1506", err)
	}
	for n := 1; n < len(stream); n++ {
		r := NewReader(bytes.NewReader(stream[:n]), true)
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if want := n == RecordHead; (err == io.EOF) != want || !want && err != io.ErrUnexpectedEOF {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	huge := AppendHead(nil, backup.Data, id, 1<<31)
	if _, err := NewReader(bytes.NewReader(huge), true).Next(); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a record of 2 GiB: %v, want E1506", err)
	}
	withBytes := append(AppendHead(nil, backup.Missing, id, 30), make([]byte, 30)...)
	if _, err := NewReader(bytes.NewReader(withBytes), true).Next(); !errs.Is(err, errs.Mismatch) {
		t.Errorf("a missing record with bytes: %v, want E1506", err)
	}
}

// What follows the records may look like one, but not of this class.
func TestScanStopsAtAnotherClass(t *testing.T) {
	t.Parallel()
	b, want := write(t, 100)
	id, sealed := object(50, 1)
	b = append(AppendHead(b[:want[0].Offset+100], backup.Data, id, 50), sealed...)
	if _, got, err := scan(b); err != nil || !slices.Equal(got, want) {
		t.Errorf("Scan = %v, %v, want %v", got, err, want)
	}
}

// A failure to read is no torn end: it must not pass for an empty pack.
func TestScanReportsReadErrors(t *testing.T) {
	t.Parallel()
	b, _ := write(t, 100, 200)
	want := errors.New("the disk is gone")
	_, err := Scan(io.MultiReader(bytes.NewReader(b[:HeadSize+150]), iotest.ErrReader(want)), func(Entry, []byte) error { return nil })
	if !errors.Is(err, want) {
		t.Errorf("Scan = %v, want %v", err, want)
	}
	_, _, err = ReadIndex(failingAt{}, 10_000)
	if err == nil || errs.Is(err, errs.Mismatch) {
		t.Errorf("ReadIndex = %v, want the disk's error", err)
	}
}

type failingAt struct{}

func (failingAt) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the disk is gone") }

func FuzzReader(f *testing.F) {
	id, sealed := object(50, 1)
	f.Add(append(AppendHead(AppendMissing(nil, id), backup.Data, id, len(sealed)), sealed...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b), true)
		var back []byte
		for {
			rec, err := r.Next()
			if err == io.EOF {
				if !bytes.Equal(back, b) {
					t.Fatal("read to something else")
				}
				return
			}
			if err != nil {
				return
			}
			back = append(AppendHead(back, rec.Kind, rec.ID, len(rec.Sealed)), rec.Sealed...)
		}
	})
}

func FuzzIndex(f *testing.F) {
	b, _ := write(f, 100, 21)
	f.Add(b, false)
	f.Add(b, true)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if mend && len(b) >= HeadSize+tailSize { // let the fuzzer past the hash
			at := max(HeadSize, len(b)-tailSize-4-entrySize)
			if len(b) >= at+tailSize {
				sum := indexSum(b[:HeadSize], b[at:len(b)-tailSize])
				tail := backup.Encoder{B: bytes.Clone(b[:len(b)-tailSize])}
				tail.U64(uint64(at))
				tail.Raw(sum[:])
				tail.Text(tailMagic)
				b = tail.B
			}
		}
		h, entries, err := ReadIndex(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errs.Is(err, errs.Mismatch) {
				t.Fatalf("%v, want E1506", err)
			}
			return
		}
		for _, e := range entries {
			if e.Offset+uint64(e.Len) > uint64(len(b)) {
				t.Fatal("an entry outside the pack")
			}
		}
		if again, err := decodeHead(h.encode()); err != nil || again != h {
			t.Fatal("the head has another encoding")
		}
		scan(b)
	})
}
