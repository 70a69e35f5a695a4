package vault

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"testing"

	"github.com/backstay/backstay/backup"
	"github.com/backstay/backstay/backup/pack"
	"github.com/backstay/backstay/backup/snapshot"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/wire"
	"github.com/backstay/backstay/wire/wiretest"
)

// fakes are n objects that are not sealed but hash to their ids, which is all
// that a vault sees.
func fakes(n, size int) []backup.Object {
	list := make([]backup.Object, n)
	noise := make([]byte, size)
	rand.Read(noise)
	for i := range list {
		sealed := bytes.Clone(noise)
		rand.Read(sealed[:16])
		list[i] = backup.Object{Kind: backup.Data, Sealed: sealed, Ref: backup.Ref{ID: sha256.Sum256(sealed)}}
	}
	return list
}

// BenchmarkPut receives packs of 32 MiB in records of 1 MiB.
func BenchmarkPut(b *testing.B) {
	benchmarkPut(b, 32, 1<<20)
}

// BenchmarkPutSmall receives packs of 1,000 records of 4 KiB.
func BenchmarkPutSmall(b *testing.B) {
	benchmarkPut(b, 1000, 4<<10)
}

func benchmarkPut(b *testing.B, n, size int) {
	w := newWorld(b)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	b.SetBytes(int64(n * size))
	for b.Loop() {
		b.StopTimer()
		body := wiretest.Records(fakes(n, size)...)
		b.StartTimer()
		if _, err := w.Put(b.Context(), d.caller, s.SessionID, wiretest.PutID(), backup.ClassData, Size{}, bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
}

// filled is a world whose user has a snapshot of n objects, which are only in
// the index.
func filled(b *testing.B, n int) (*world, *machine, []backup.ID) {
	w := newWorld(b)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	root := d.Seal(backup.Page, "root")
	d.put(s, backup.ClassMetadata, root)
	all := make([]backup.ID, n, n+1)
	for i := range all {
		var k [8]byte
		binary.BigEndian.PutUint64(k[:], uint64(i))
		all[i] = sha256.Sum256(k[:])
	}
	for start := 0; start < n; start += 10_000 {
		part := all[start:min(start+10_000, n)]
		entries := make([]pack.Entry, len(part))
		for i, id := range part {
			entries[i] = pack.Entry{Kind: backup.Data, ID: id, Offset: 100, Len: 100}
		}
		err := w.db.Write(b.Context(), func(tx *db.Tx) error {
			set, err := index(b.Context(), tx, 1, 1, entries)
			if err != nil {
				return err
			}
			raw, err := encode(set)
			if err != nil {
				return err
			}
			_, err = tx.Exec(b.Context(), `INSERT INTO puts (session, put_id, answer, created_at, refs) VALUES ($1, $2, '{}', 1, $3)`,
				s.SessionID, wiretest.PutID(), raw)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	all = snapshot.SortIDs(append(all, root.Ref.ID))
	d.commit(s, d.prepare(s, snapshot.Complete, root, all))
	return w, d, all
}

const many = 1_000_000

// BenchmarkHave asks for 1,000 of a million objects.
func BenchmarkHave(b *testing.B) {
	w, d, all := filled(b, many)
	s := d.begin()
	next := 0
	for b.Loop() {
		next = (next + 7919) % (len(all) - wire.MaxHave)
		if _, err := w.Have(b.Context(), d.caller, s.SessionID, all[next:next+wire.MaxHave]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*wire.MaxHave/b.Elapsed().Seconds(), "ids/s")
}

// BenchmarkCommitFull commits a million objects, listed in full.
func BenchmarkCommitFull(b *testing.B) {
	_, d, all := filled(b, many)
	root := d.Seal(backup.Page, "root")
	for b.Loop() {
		d.all = nil // no base
		s := d.begin()
		d.commit(s, d.prepare(s, snapshot.Complete, root, all))
	}
}

// BenchmarkCommitDelta commits a million objects, one of them new.
func BenchmarkCommitDelta(b *testing.B) {
	_, d, all := filled(b, many)
	for b.Loop() {
		b.StopTimer()
		s := d.begin()
		root := d.Seal(backup.Page, "root")
		d.put(s, backup.ClassData, fakes(1, 100)...)
		a := d.prepare(s, snapshot.Complete, root, all)
		b.StartTimer()
		d.commit(s, a)
	}
}

// BenchmarkRead reads 100 objects of 1 MiB.
func BenchmarkRead(b *testing.B) {
	w := newWorld(b)
	d := w.newUser(w.org).newDevice()
	s := d.begin()
	root := d.Seal(backup.Page, "root")
	d.put(s, backup.ClassMetadata, root)
	objects := fakes(100, 1<<20)
	d.put(s, backup.ClassData, objects[:50]...)
	d.put(s, backup.ClassData, objects[50:]...)
	d.commit(s, d.prepare(s, snapshot.Complete, root, wiretest.IDs(append(objects, root)...)))
	list := wiretest.IDs(objects...)
	b.SetBytes(100 << 20)
	for b.Loop() {
		if err := w.Read(b.Context(), d.caller, list, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
