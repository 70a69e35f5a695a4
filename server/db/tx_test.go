package db

import "testing"

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ query, want string }{
		{"SELECT 1", "SELECT 1"},
		{"SELECT a FROM t WHERE a = $1 AND b IN ($2,$3)", "SELECT a FROM t WHERE a = ? AND b IN (?,?)"},
		{"SELECT $1 WHERE a = $1", "SELECT ?1 WHERE a = ?1"}, // one value, twice
		{"SELECT $2, $1", "SELECT ?2, ?1"},
		{"SELECT $10", "SELECT ?10"},
		{"SELECT '$1', 'it''s $2', $1", "SELECT '$1', 'it''s $2', ?"},
	} {
		if got := (&Tx{dialect: sqlite}).text(c.query); got != c.want {
			t.Errorf("on SQLite text(%q) = %q, want %q", c.query, got, c.want)
		}
		if got := (&Tx{dialect: postgres}).text(c.query); got != c.query {
			t.Errorf("on PostgreSQL text(%q) = %q", c.query, got)
		}
	}
}
