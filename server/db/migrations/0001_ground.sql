-- The ground: organisations, accounts, profiles, devices, audit.
-- Instants are microseconds since 1970, 0 for never. JSON is TEXT.
-- {{sorted}} is text that lists are ordered by, compared byte by byte.

-- +goose Up

CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE orgs (
	id         TEXT PRIMARY KEY,
	name       {{sorted}} NOT NULL,
	name_key   {{sorted}} NOT NULL UNIQUE, -- NFC, case folded
	state      TEXT NOT NULL,
	key_gen    BIGINT NOT NULL,
	record     {{blob}} NOT NULL,          -- org record of key_gen, docs/format.md 8
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);

CREATE TABLE profiles (
	id          TEXT PRIMARY KEY,
	org         TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	name        {{sorted}} NOT NULL,
	name_key    {{sorted}} NOT NULL,
	description TEXT NOT NULL,
	is_default  BOOLEAN NOT NULL,
	revision    BIGINT NOT NULL,
	settings    TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL            -- greater with each revision
);
CREATE UNIQUE INDEX profiles_name ON profiles (org, name_key);
CREATE UNIQUE INDEX profiles_default ON profiles (org) WHERE is_default;

CREATE TABLE profile_revisions (
	profile     TEXT NOT NULL REFERENCES profiles(id) ON DELETE CASCADE,
	revision    BIGINT NOT NULL,
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	settings    TEXT NOT NULL,
	author      TEXT NOT NULL,             -- no reference: it outlives the account
	author_name TEXT NOT NULL,
	reason      TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	PRIMARY KEY (profile, revision)
);

CREATE TABLE users (
	id            TEXT PRIMARY KEY,
	org           TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	kind          TEXT NOT NULL,           -- user, administrator
	role          TEXT NOT NULL,           -- of an administrator
	username      TEXT NOT NULL,
	username_key  {{sorted}} NOT NULL UNIQUE, -- NFC, case folded; over all organisations
	email         TEXT NOT NULL,
	email_key     TEXT NOT NULL,
	first_name    TEXT NOT NULL,
	last_name     TEXT NOT NULL,
	search        TEXT NOT NULL,           -- all names and the address, folded
	language      TEXT NOT NULL,
	state         TEXT NOT NULL,
	state_at      BIGINT NOT NULL,
	profile       TEXT REFERENCES profiles(id),
	profile_at    BIGINT NOT NULL,         -- when the profile was assigned
	licence       TEXT,
	password      TEXT NOT NULL,           -- Argon2id, PHC string; empty: none
	password_at   BIGINT NOT NULL,
	must_change_password BOOLEAN NOT NULL,
	locked_until  BIGINT NOT NULL,
	key_gen       BIGINT NOT NULL,         -- 0 for administrators, who own no data
	public_key    {{blob}},                -- HPKE
	identity_key  {{blob}},                -- Ed25519
	wrapped_key   {{blob}},                -- W_org, docs/format.md 8
	user_cert     {{blob}},
	last_login_at BIGINT NOT NULL,
	created_at    BIGINT NOT NULL,
	updated_at    BIGINT NOT NULL
);
CREATE INDEX users_email ON users (email_key);
CREATE INDEX users_org ON users (org, kind, username_key);
CREATE INDEX users_profile ON users (profile);
CREATE INDEX users_state_at ON users (state_at);
CREATE INDEX users_profile_at ON users (profile_at);

CREATE TABLE login_sessions (
	id           TEXT PRIMARY KEY,
	token        {{blob}} NOT NULL UNIQUE, -- SHA-256
	user_id      TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	portal       TEXT NOT NULL,            -- portal, console
	ip           TEXT NOT NULL,
	user_agent   TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	last_seen_at BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL
);
CREATE INDEX login_sessions_user ON login_sessions (user_id);
CREATE INDEX login_sessions_expires ON login_sessions (expires_at);

CREATE TABLE devices (
	id              TEXT PRIMARY KEY,
	org             TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id         TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	request_id      TEXT NOT NULL,         -- makes activation repeatable
	state           TEXT NOT NULL,
	state_at        BIGINT NOT NULL,
	state_reason    TEXT NOT NULL,
	name            {{sorted}} NOT NULL,
	name_key        {{sorted}} NOT NULL,
	search          TEXT NOT NULL,
	machine_id      TEXT NOT NULL,
	serial          TEXT NOT NULL,
	hostname        TEXT NOT NULL,
	os              TEXT NOT NULL,
	os_version      TEXT NOT NULL,
	arch            TEXT NOT NULL,
	os_user         TEXT NOT NULL,
	is_system       BOOLEAN NOT NULL,      -- backs up with the system's rights
	client_version  TEXT NOT NULL,
	signing_key     {{blob}} NOT NULL,
	cert_serial     BIGINT NOT NULL,
	cert            {{blob}} NOT NULL,
	folders         TEXT NOT NULL,         -- JSON, as the device reports them
	last_seen_at    BIGINT NOT NULL,
	last_ip         TEXT NOT NULL,
	status          TEXT NOT NULL,         -- idle, running, paused, failed
	status_code     TEXT NOT NULL,
	progress        TEXT NOT NULL,         -- JSON, empty when nothing runs
	next_run_at     BIGINT NOT NULL,
	last_backup_at  BIGINT NOT NULL,
	last_snapshot   TEXT NOT NULL,
	last_status     TEXT NOT NULL,         -- of the last snapshot
	stored_bytes    BIGINT NOT NULL,       -- logical size of the last snapshot
	stored_files    BIGINT NOT NULL,
	profile_version BIGINT NOT NULL,       -- what the device fetched last
	changed_at      BIGINT NOT NULL,       -- something a waiting device must be told
	created_at      BIGINT NOT NULL,
	activated_at    BIGINT NOT NULL,
	UNIQUE (user_id, request_id)
);
CREATE UNIQUE INDEX devices_name ON devices (user_id, name_key)
	WHERE state NOT IN ('replaced', 'decommissioned', 'deleted', 'purged');
CREATE INDEX devices_org ON devices (org, name_key, id);
CREATE INDEX devices_machine ON devices (machine_id);
CREATE INDEX devices_changed ON devices (changed_at);

CREATE TABLE sets (
	id         TEXT PRIMARY KEY,
	org        TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	device     TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL
);
CREATE INDEX sets_device ON sets (device);
CREATE INDEX sets_user ON sets (user_id);

CREATE TABLE device_challenges (
	challenge  {{blob}} PRIMARY KEY,       -- SHA-256
	device     TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	expires_at BIGINT NOT NULL
);
CREATE INDEX device_challenges_device ON device_challenges (device);
CREATE INDEX device_challenges_expires ON device_challenges (expires_at);

CREATE TABLE device_tokens (
	token      {{blob}} PRIMARY KEY,       -- SHA-256
	device     TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX device_tokens_device ON device_tokens (device);
CREATE INDEX device_tokens_expires ON device_tokens (expires_at);

CREATE TABLE user_tokens (
	token      {{blob}} PRIMARY KEY,       -- SHA-256
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	device     TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX user_tokens_user ON user_tokens (user_id);
CREATE INDEX user_tokens_device ON user_tokens (device);
CREATE INDEX user_tokens_expires ON user_tokens (expires_at);

CREATE TABLE device_requests (
	number     {{serial}},
	device     TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	kind       TEXT NOT NULL,
	data       TEXT NOT NULL,              -- JSON
	state      TEXT NOT NULL,              -- waiting, taken, done, failed, unsupported
	code       TEXT NOT NULL,
	created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	taken_at   BIGINT NOT NULL,
	done_at    BIGINT NOT NULL
);
CREATE INDEX device_requests_device ON device_requests (device, number);

-- No references: what was done outlives those who did it.
CREATE TABLE audit (
	seq         {{serial}},
	at          BIGINT NOT NULL,
	org         TEXT NOT NULL,             -- of the object; empty: the server
	owner       TEXT NOT NULL,             -- whose data or account it is
	actor_kind  TEXT NOT NULL,
	actor_id    TEXT NOT NULL,
	actor_name  TEXT NOT NULL,
	action      TEXT NOT NULL,
	object_kind TEXT NOT NULL,
	object_id   TEXT NOT NULL,
	outcome     TEXT NOT NULL,             -- done, denied, failed
	code        TEXT NOT NULL,
	ip          TEXT NOT NULL,
	request_id  TEXT NOT NULL,
	session_id  TEXT NOT NULL,
	details     TEXT NOT NULL              -- JSON
);
CREATE INDEX audit_org ON audit (org, seq);
CREATE INDEX audit_owner ON audit (owner, seq);
CREATE INDEX audit_actor ON audit (actor_id, seq);
CREATE INDEX audit_object ON audit (object_kind, object_id, seq);
