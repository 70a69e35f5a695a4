-- The vault's index: packs, the objects in them, backup sessions, snapshots.
-- All of it can be made again from the store, docs/format.md 10.
-- Sets of objects are roaring bitmaps over chunks.number, portable form.

-- +goose Up

-- One row. store is the vault's id, which stands in the store as well: the
-- two must belong together. epoch is the collector's; removals grows whenever
-- rows of chunks are deleted, so that a number looked up before is known to be
-- still good.
CREATE TABLE vault_state (
	one       BIGINT PRIMARY KEY CHECK (one = 1),
	store     TEXT NOT NULL,
	epoch     BIGINT NOT NULL,
	removals  BIGINT NOT NULL
);
INSERT INTO vault_state (one, store, epoch, removals) VALUES (1, '', 1, 0);

-- A short number for each organisation: chunks and its index carry it in
-- place of 36 characters, twice in each of many million rows.
CREATE TABLE vault_orgs (
	number {{serial}},
	org    TEXT NOT NULL UNIQUE REFERENCES orgs(id) ON DELETE CASCADE
);

-- What a user's live snapshots need is cached under version; it grows with
-- each commit and each expiry. removed is the version at which something was
-- last taken away, so that a cache older than it starts afresh.
CREATE TABLE vault_users (
	user_id TEXT PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
	version BIGINT NOT NULL,
	removed BIGINT NOT NULL
);

CREATE TABLE packs (
	number     {{serial}},
	name       TEXT NOT NULL UNIQUE,       -- 32 hex digits
	org        BIGINT NOT NULL REFERENCES vault_orgs(number) ON DELETE CASCADE,
	user_id    TEXT NOT NULL,              -- who sent it; no reference, packs outlive accounts
	device     TEXT NOT NULL,
	class      INTEGER NOT NULL,           -- 1 data, 2 metadata
	state      INTEGER NOT NULL,           -- 0 live, 1 condemned
	size       BIGINT NOT NULL,            -- of the blob
	records    BIGINT NOT NULL,
	epoch      BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	verified_at BIGINT NOT NULL
);
CREATE INDEX packs_org ON packs (org, user_id);
CREATE INDEX packs_verified ON packs (verified_at);

-- One row per object. It is as old as its pack. There is no index by pack: a
-- pack names its objects itself.
CREATE TABLE chunks (
	number {{serial}},
	org    BIGINT NOT NULL REFERENCES vault_orgs(number) ON DELETE CASCADE,
	id     {{blob}} NOT NULL,
	kind   SMALLINT NOT NULL,
	state  SMALLINT NOT NULL,              -- 0 live, 1 condemned, 2 missing
	pack   BIGINT NOT NULL,
	off    BIGINT NOT NULL,                -- of the sealed bytes in the pack
	len    INTEGER NOT NULL,
	CHECK (number BETWEEN 1 AND 4294967295) -- bitmaps hold 32 bits
);
CREATE UNIQUE INDEX chunks_id ON chunks (org, id);
CREATE INDEX chunks_unsound ON chunks (org, number) WHERE state <> 0;

CREATE TABLE backup_sessions (
	id         TEXT PRIMARY KEY,
	org        TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	device     TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	set_id     TEXT NOT NULL REFERENCES sets(id) ON DELETE CASCADE,
	nonce      {{blob}} NOT NULL,
	state      TEXT NOT NULL,              -- open, done, expired
	epoch      BIGINT NOT NULL,            -- the collector's, when it was opened
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	ended_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX backup_sessions_open ON backup_sessions (set_id) WHERE state = 'open';
CREATE INDEX backup_sessions_device ON backup_sessions (device, created_at);
CREATE INDEX backup_sessions_user ON backup_sessions (user_id);

-- What open sessions sent. It is pinned until they end.
CREATE TABLE puts (
	number     {{serial}},
	session    TEXT NOT NULL REFERENCES backup_sessions(id) ON DELETE CASCADE,
	put_id     TEXT NOT NULL,
	answer     TEXT NOT NULL,              -- JSON
	created_at BIGINT NOT NULL,
	refs       {{blob}} NOT NULL,          -- the objects it brought, new or not
	UNIQUE (session, put_id)
);

CREATE TABLE snapshots (
	number       {{serial}},
	hash         {{blob}} NOT NULL UNIQUE,
	org          TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id      TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	device       TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	set_id       TEXT NOT NULL REFERENCES sets(id) ON DELETE CASCADE,
	seq          BIGINT NOT NULL,
	prev         {{blob}} NOT NULL,
	session      TEXT NOT NULL,
	state        TEXT NOT NULL,            -- live, replaced (a partial, by a newer snapshot of its session), expired
	status       TEXT NOT NULL,            -- complete, partial, suspicious
	user_version BIGINT NOT NULL,          -- vault_users.version that brought it
	entries      BIGINT NOT NULL,
	files        BIGINT NOT NULL,
	bytes        BIGINT NOT NULL,
	unreadable   BIGINT NOT NULL,
	root_id      {{blob}} NOT NULL,
	refs_id      {{blob}} NOT NULL,
	refs_base    {{blob}},                 -- refs_id that a delta stands on
	refs_depth   INTEGER NOT NULL,
	refs_count   BIGINT NOT NULL,
	epoch        BIGINT NOT NULL,
	started_at   BIGINT NOT NULL,          -- by the device's clock
	committed_at BIGINT NOT NULL,
	receipt      {{blob}} NOT NULL,
	UNIQUE (set_id, seq)
);
CREATE INDEX snapshots_device ON snapshots (device, state, seq);
CREATE INDEX snapshots_user ON snapshots (user_id, state, user_version);
CREATE INDEX snapshots_refs ON snapshots (set_id, refs_id);
CREATE INDEX snapshots_session ON snapshots (session);

-- The objects a snapshot needs. Apart from snapshots, so that lists do not
-- read over them.
CREATE TABLE snapshot_refs (
	snapshot BIGINT PRIMARY KEY REFERENCES snapshots(number) ON DELETE CASCADE,
	refs     {{blob}} NOT NULL
);
