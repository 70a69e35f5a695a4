-- Accounts, licences and signing in: settings, mail, licences and seats, what
-- is used once, second factors, throttling.

-- +goose Up

-- One row for each section of Settings, as JSON; what is absent has its default.
-- A secret in it is sealed by the key file and never leaves by a page.
CREATE TABLE settings (
	section    TEXT PRIMARY KEY,
	value      TEXT NOT NULL,
	secret     {{blob}},
	updated_by TEXT NOT NULL,
	updated_at BIGINT NOT NULL
);

-- Mail, written in the transaction of what it is about. The body holds links
-- that open accounts: it is sealed, and deleted when the mail has been sent.
CREATE TABLE outbox (
	number     {{serial}},
	org        TEXT NOT NULL,              -- empty: the server's
	user_id    TEXT NOT NULL,              -- whom it is about; no reference, it outlives the account
	template   TEXT NOT NULL,
	language   TEXT NOT NULL,
	recipient  TEXT NOT NULL,
	body       {{blob}},                   -- sealed JSON of the template's values; NULL once sent or dropped
	state      TEXT NOT NULL,              -- waiting, sending, sent, failed, dropped
	tries      BIGINT NOT NULL,
	error      TEXT NOT NULL,              -- of the last try
	created_at BIGINT NOT NULL,
	next_at    BIGINT NOT NULL,            -- not before
	claimed_at BIGINT NOT NULL,            -- by the server that sends it
	sent_at    BIGINT NOT NULL
);
CREATE INDEX outbox_due ON outbox (state, next_at);
CREATE INDEX outbox_user ON outbox (user_id, number);
CREATE INDEX outbox_tried ON outbox (claimed_at);

CREATE TABLE licences (
	id              TEXT PRIMARY KEY,
	org             TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	serial          TEXT NOT NULL UNIQUE,  -- 25 characters, upper case, without the dashes
	document        TEXT NOT NULL,         -- JSON, the bytes that were signed
	signature       {{blob}} NOT NULL,     -- Ed25519 by the server's licence key
	name            TEXT NOT NULL,
	state           TEXT NOT NULL,         -- active, revoked
	seats_active    BIGINT NOT NULL,       -- as the document says; lists and counts read them
	seats_preserved BIGINT NOT NULL,
	valid_to        BIGINT NOT NULL,       -- 0: without end
	over_since      BIGINT NOT NULL,       -- since when more seats are taken than there are, 0: they suffice
	noted_at        BIGINT NOT NULL,       -- when the administrators were last told
	created_at      BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL
);
CREATE INDEX licences_org ON licences (org, id);

-- seat: '' none, 'active', 'preserved'.
ALTER TABLE users ADD COLUMN seat TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN state_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN state_before TEXT NOT NULL DEFAULT '';      -- what undoing a deletion returns to
ALTER TABLE users ADD COLUMN seat_before TEXT NOT NULL DEFAULT '';       -- and with which seat; what a preserved account had
ALTER TABLE users ADD COLUMN purge_at BIGINT NOT NULL DEFAULT 0;         -- of a deleted account
ALTER TABLE users ADD COLUMN noted_at BIGINT NOT NULL DEFAULT 0;         -- last warning before a preserved account is deleted
ALTER TABLE users ADD COLUMN legal_hold BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN privacy_on BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN temporary_until BIGINT NOT NULL DEFAULT 0;  -- the password is a temporary secret until then; 0: it is not
ALTER TABLE users ADD COLUMN second_factor_from BIGINT NOT NULL DEFAULT 0; -- from when one is demanded; 0: by the settings
CREATE INDEX users_licence ON users (licence, seat);
CREATE INDEX users_purge ON users (state, purge_at);
CREATE INDEX users_state ON users (org, kind, state, username_key); -- the list by state, and its counts

-- stage: what the session may do yet. '' everything, 'password' set a new
-- password, 'factor' give the second factor, 'enrol' set one up.
ALTER TABLE login_sessions ADD COLUMN stage TEXT NOT NULL DEFAULT '';
ALTER TABLE login_sessions ADD COLUMN auth_at BIGINT NOT NULL DEFAULT 0;  -- when its owner last proved who they are
ALTER TABLE login_sessions ADD COLUMN factor TEXT NOT NULL DEFAULT '';    -- the strongest proof given: password, totp, recovery, passkey

-- When a second factor was given for a user token, or for the one that it came
-- after; 0: never. It is asked for again some time after it.
ALTER TABLE user_tokens ADD COLUMN factor_at BIGINT NOT NULL DEFAULT 0;

-- A name that was given up stays its owner's for a while.
CREATE TABLE reserved_usernames (
	username_key {{sorted}} PRIMARY KEY,
	user_id      TEXT NOT NULL,            -- no reference: also of a purged account
	until        BIGINT NOT NULL
);
CREATE INDEX reserved_usernames_until ON reserved_usernames (until);

CREATE TABLE password_history (
	number     {{serial}},
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	password   TEXT NOT NULL,              -- PHC string
	created_at BIGINT NOT NULL
);
CREATE INDEX password_history_user ON password_history (user_id, number);

-- Links and codes that work once. A link's secret is kept as its SHA-256, a
-- code's as an HMAC under the server's key together with what it is for.
CREATE TABLE one_time_secrets (
	secret     {{blob}} PRIMARY KEY,
	purpose    TEXT NOT NULL,
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	data       TEXT NOT NULL,              -- JSON: a new address, say
	tries      BIGINT NOT NULL,            -- left, of a code
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL
);
CREATE INDEX one_time_secrets_user ON one_time_secrets (user_id, purpose);
CREATE INDEX one_time_secrets_expires ON one_time_secrets (expires_at);

-- What is counted to slow down guessing: failed log-ins by account and by
-- network, registrations, mails asked for. The subject is hashed: it may be
-- what somebody typed.
CREATE TABLE throttles (
	subject    {{blob}} PRIMARY KEY,       -- HMAC, under the server's key, of what is counted and for whom
	failures   BIGINT NOT NULL,
	first_at   BIGINT NOT NULL,            -- of the window
	last_at    BIGINT NOT NULL,
	until      BIGINT NOT NULL,            -- refused before that
	expires_at BIGINT NOT NULL
);
CREATE INDEX throttles_expires ON throttles (expires_at);

-- Browsers that an account logged in from before. A lock does not hold for them.
CREATE TABLE known_browsers (
	token      {{blob}} PRIMARY KEY,       -- SHA-256
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX known_browsers_user ON known_browsers (user_id);
CREATE INDEX known_browsers_expires ON known_browsers (expires_at);

CREATE TABLE totp (
	user_id      TEXT PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
	secret       {{blob}} NOT NULL,        -- sealed by the key file
	confirmed_at BIGINT NOT NULL,          -- 0: being set up
	last_step    BIGINT NOT NULL,          -- the newest that was used; none before it is good
	created_at   BIGINT NOT NULL
);

CREATE TABLE recovery_codes (
	code       {{blob}} PRIMARY KEY,       -- HMAC under the server's key
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL
);
CREATE INDEX recovery_codes_user ON recovery_codes (user_id);

CREATE TABLE passkeys (
	id           {{blob}} PRIMARY KEY,     -- the credential's
	user_id      TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	name         TEXT NOT NULL,
	credential   TEXT NOT NULL,            -- JSON: public key, counter, flags
	created_at   BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL
);
CREATE INDEX passkeys_user ON passkeys (user_id);

-- WebAuthn ceremonies under way: the challenge, for one session, used once.
CREATE TABLE passkey_ceremonies (
	id         TEXT PRIMARY KEY,
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	session_id TEXT NOT NULL,
	purpose    TEXT NOT NULL,              -- enrol, prove
	data       TEXT NOT NULL,              -- JSON
	expires_at BIGINT NOT NULL
);
CREATE INDEX passkey_ceremonies_expires ON passkey_ceremonies (expires_at);

-- An import of users, between the check of its rows and the making of them.
CREATE TABLE user_imports (
	id         TEXT PRIMARY KEY,
	org        TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	created_by TEXT NOT NULL,
	rows       TEXT NOT NULL,              -- JSON: each row with what is wrong about it
	total      BIGINT NOT NULL,            -- how many rows
	done       BIGINT NOT NULL,            -- how many of them the run has dealt with
	state      TEXT NOT NULL,              -- checked, running, done
	run_at     BIGINT NOT NULL,            -- when the run last went on; 0: never
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX user_imports_expires ON user_imports (expires_at);

-- What users ask of their administrators: to delete their account.
CREATE TABLE account_requests (
	id         TEXT PRIMARY KEY,
	org        TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	kind       TEXT NOT NULL,              -- delete_account
	state      TEXT NOT NULL,              -- open, done, refused
	created_at BIGINT NOT NULL,
	closed_at  BIGINT NOT NULL,
	closed_by  TEXT NOT NULL
);
CREATE INDEX account_requests_org ON account_requests (org, state, created_at);
CREATE INDEX account_requests_user ON account_requests (user_id);
