-- Devices that are added, replaced and reactivated; deployment by token;
-- resets, and what two administrators decide together.

-- +goose Up

ALTER TABLE devices ADD COLUMN os_home TEXT NOT NULL DEFAULT '';          -- of os_user
ALTER TABLE devices ADD COLUMN named BOOLEAN NOT NULL DEFAULT FALSE;      -- somebody chose the name: it does not follow the host name
ALTER TABLE devices ADD COLUMN names TEXT NOT NULL DEFAULT '';            -- those it had, one a line; the search finds them
ALTER TABLE devices ADD COLUMN locked_at BIGINT NOT NULL DEFAULT 0;       -- backups go on, nothing is shown or restored there
ALTER TABLE devices ADD COLUMN choices TEXT NOT NULL DEFAULT '';          -- JSON of profile.Choices, as the device reports
ALTER TABLE devices ADD COLUMN root_epoch BIGINT NOT NULL DEFAULT 1;      -- one more when a computer goes on with the set that does not know what was in it
ALTER TABLE devices ADD COLUMN replaces TEXT NOT NULL DEFAULT '';         -- the device that this one takes over with its first complete backup
ALTER TABLE devices ADD COLUMN successor TEXT NOT NULL DEFAULT '';        -- of a replaced device
ALTER TABLE devices ADD COLUMN brings TEXT NOT NULL DEFAULT '';           -- of the device that it replaces: what is to come back to it, DATA, ALL, SYSTEM or nothing
ALTER TABLE devices ADD COLUMN token TEXT NOT NULL DEFAULT '';            -- the deployment token by which the computer came that it is now
ALTER TABLE devices ADD COLUMN inactive_at BIGINT NOT NULL DEFAULT 0;     -- since when it counts as inactive, 0: it does not
ALTER TABLE devices ADD COLUMN noted_at BIGINT NOT NULL DEFAULT 0;        -- last warning before an inactive device is deleted
ALTER TABLE devices ADD COLUMN state_before TEXT NOT NULL DEFAULT '';     -- what undoing a deletion returns to
ALTER TABLE devices ADD COLUMN purge_at BIGINT NOT NULL DEFAULT 0;        -- of a deleted device
ALTER TABLE devices ADD COLUMN complete_at BIGINT NOT NULL DEFAULT 0;     -- its newest complete snapshot for which all folders were read
ALTER TABLE devices ADD COLUMN clone_at BIGINT NOT NULL DEFAULT 0;        -- two computers claimed to be this one
ALTER TABLE devices ADD COLUMN host_at BIGINT NOT NULL DEFAULT 0;         -- its computer was last called otherwise
ALTER TABLE devices ADD COLUMN reset_at BIGINT NOT NULL DEFAULT 0;        -- a security reset took its key
ALTER TABLE devices ADD COLUMN distrusted_at BIGINT NOT NULL DEFAULT 0;   -- keys of before do not let a computer back by themselves
UPDATE devices SET complete_at = last_backup_at WHERE last_status = 'complete';
UPDATE devices SET named = TRUE WHERE lower(name) <> lower(hostname);
CREATE INDEX devices_user ON devices (user_id, state);
CREATE INDEX devices_serial ON devices (serial);
CREATE INDEX devices_key ON devices (signing_key);
CREATE INDEX devices_state ON devices (state, purge_at);
CREATE INDEX devices_token ON devices (token, request_id);
CREATE INDEX devices_replaces ON devices (replaces);

ALTER TABLE snapshots ADD COLUMN root_epoch BIGINT NOT NULL DEFAULT 1;
-- The device that the manifest names, where that is not the one under which the
-- snapshot is listed; empty: it is.
ALTER TABLE snapshots ADD COLUMN signed_as TEXT NOT NULL DEFAULT '';

-- A user's own quota, when it differs from the profile's, in bytes; NULL: the
-- profile's. The organisation's own: 0 is none. quota_noted is how full it was,
-- in percent, when somebody was last told; 0: nobody has to be.
ALTER TABLE users ADD COLUMN quota_bytes BIGINT;
ALTER TABLE users ADD COLUMN quota_noted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE orgs ADD COLUMN quota_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE orgs ADD COLUMN quota_noted BIGINT NOT NULL DEFAULT 0;

-- What counts on a quota while a device sends, until its next snapshot does:
-- the bytes received, and the most of those and what the device said the
-- snapshot will have.
ALTER TABLE devices ADD COLUMN received_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN claimed_bytes BIGINT NOT NULL DEFAULT 0;
-- Of a snapshot, and of a device its newest: the stored bytes of the contents that
-- it needs, and how many files wait for room. Of a snapshot, how many folders it
-- has from the one before, since that backup did not read them.
ALTER TABLE snapshots ADD COLUMN held_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE snapshots ADD COLUMN waiting BIGINT NOT NULL DEFAULT 0;
ALTER TABLE snapshots ADD COLUMN carried BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN held_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN waiting_files BIGINT NOT NULL DEFAULT 0;

-- Deployment activates one device of each user; those that were devices come
-- back all the same.
ALTER TABLE orgs ADD COLUMN first_device_only BOOLEAN NOT NULL DEFAULT FALSE;

-- The computers that a device was before. A key that stands here proves which
-- device a computer was, and nothing else.
CREATE TABLE device_identities (
	number       {{serial}},
	device       TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	signing_key  {{blob}} NOT NULL,
	cert         {{blob}} NOT NULL,
	cert_serial  BIGINT NOT NULL,
	name         TEXT NOT NULL,
	named        BOOLEAN NOT NULL,
	hardware     TEXT NOT NULL,            -- JSON of wire.Hardware
	is_system    BOOLEAN NOT NULL,
	choices      TEXT NOT NULL,
	activated_at BIGINT NOT NULL,
	ended_at     BIGINT NOT NULL,
	ended_why    TEXT NOT NULL,            -- replaced, reactivated, undone
	ended_by     TEXT NOT NULL,            -- the name of who did that
	last_seq     BIGINT NOT NULL,          -- of the set's head when it ended
	locked_at    BIGINT NOT NULL,          -- as of devices
	undone_at    BIGINT NOT NULL,          -- the replacement was taken back
	token        TEXT NOT NULL,            -- as of devices
	request_id   TEXT NOT NULL,            -- likewise
	seen_at      BIGINT NOT NULL DEFAULT 0, -- while it is locked: when it last wanted to be the device again,
	seen_ip      TEXT NOT NULL DEFAULT ''  -- and from where
);
CREATE INDEX device_identities_device ON device_identities (device, number);
CREATE INDEX device_identities_key ON device_identities (signing_key);
CREATE INDEX device_identities_token ON device_identities (token, request_id);

-- An activation that was begun: who it is for was proved, which device it
-- becomes is still to be said.
CREATE TABLE activations (
	id             TEXT PRIMARY KEY,
	token          {{blob}} NOT NULL UNIQUE, -- SHA-256
	org            TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id        TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	request_id     TEXT NOT NULL,
	signing_key    {{blob}} NOT NULL,
	hardware       TEXT NOT NULL,            -- JSON of wire.Hardware
	is_system      BOOLEAN NOT NULL,
	client_version TEXT NOT NULL,
	previous       TEXT NOT NULL,            -- the device whose key it showed, empty: none
	proof          TEXT NOT NULL,            -- password, key, token, sso
	credential     TEXT NOT NULL,            -- id of the activation key or deployment token
	choice         TEXT NOT NULL,            -- that the credential leaves, empty: any
	target         TEXT NOT NULL,            -- the device of that choice
	waits          BOOLEAN NOT NULL,         -- an administrator has to approve a device that is added
	brings         TEXT NOT NULL,            -- as of devices
	device         TEXT NOT NULL,            -- what came of it, empty: nothing yet
	created_at     BIGINT NOT NULL,
	expires_at     BIGINT NOT NULL,
	ended_at       BIGINT NOT NULL,
	UNIQUE (user_id, request_id)
);
CREATE INDEX activations_credential ON activations (credential, request_id);
CREATE INDEX activations_expires ON activations (expires_at);

-- What comes back to a computer from the one that it replaced, beside its
-- backups. The token opens that one snapshot, from that device alone.
CREATE TABLE restores (
	id         TEXT PRIMARY KEY,
	org        TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	device     TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	token      {{blob}} UNIQUE,              -- SHA-256, NULL: none, the user has to begin it, or to go on with it
	snapshot   {{blob}} NOT NULL,            -- hash of its manifest
	source     TEXT NOT NULL,                -- what the other computer was called
	host       TEXT NOT NULL,                -- host name of the one that files come back to
	state      TEXT NOT NULL,                -- offered, running, waiting, failed, done, cancelled, replaced, undone
	code       TEXT NOT NULL,                -- why it waits or failed
	progress   TEXT NOT NULL,                -- JSON of wire.Progress
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,              -- of the token
	ended_at   BIGINT NOT NULL               -- 0: not yet
);
CREATE INDEX restores_device ON restores (device, ended_at);

-- Who may send backups now, and who waits for it, a device each: see the package
-- admission.
CREATE TABLE turns (
	device     TEXT PRIMARY KEY REFERENCES devices(id) ON DELETE CASCADE,
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	state      TEXT NOT NULL,                -- sending, waiting
	since      BIGINT NOT NULL,              -- when it got its place, or began to wait
	due_at     BIGINT NOT NULL,              -- when one that waits is to ask again
	expires_at BIGINT NOT NULL               -- it is lost then, unless its device comes
);
CREATE INDEX turns_user ON turns (user_id);

-- One-time secrets by which an administrator lets a computer activate itself
-- for a user.
CREATE TABLE activation_keys (
	id         TEXT PRIMARY KEY,
	org        TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id    TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	secret     {{blob}} NOT NULL,            -- SHA-256, empty until it is made
	choice     TEXT NOT NULL,                -- add, replace, reactivate, succeed
	device     TEXT NOT NULL,                -- that it replaces or reactivates, empty: none
	tries      BIGINT NOT NULL,              -- left
	created_by TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	allowed_at BIGINT NOT NULL,              -- a user who keeps administrators out said yes
	made_at    BIGINT NOT NULL,              -- it has its secret; 0: not yet
	expires_at BIGINT NOT NULL,
	used_at    BIGINT NOT NULL
);
CREATE INDEX activation_keys_user ON activation_keys (user_id);
CREATE INDEX activation_keys_expires ON activation_keys (expires_at);

-- Deployment. A token says that a computer belongs to the fleet, never whose it
-- is.
CREATE TABLE deploy_tokens (
	id            TEXT PRIMARY KEY,          -- stands in the token
	org           TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	secret        {{blob}} NOT NULL,         -- SHA-256
	name          TEXT NOT NULL,
	profile       TEXT REFERENCES profiles(id), -- of new users, NULL: the default
	networks      TEXT NOT NULL,             -- CIDRs, one a line; empty: any
	systems       TEXT NOT NULL,             -- linux, windows, darwin, one a line; empty: any
	hosts         TEXT NOT NULL,             -- patterns of host names, one a line; empty: any
	max_uses      BIGINT NOT NULL,           -- 0: without limit; deploy_uses counts
	approve       BOOLEAN NOT NULL,          -- what comes by it waits for an administrator
	create_users  BOOLEAN NOT NULL,          -- an address nobody has makes an account
	domains       TEXT NOT NULL,             -- of those addresses, one a line
	prompt        BOOLEAN NOT NULL,          -- ask the user when nothing says whose computer it is
	created_by    TEXT NOT NULL,
	created_at    BIGINT NOT NULL,
	expires_at    BIGINT NOT NULL,           -- 0: without end
	revoked_at    BIGINT NOT NULL,
	last_used_at  BIGINT NOT NULL,
	last_failed_at BIGINT NOT NULL,
	failures      BIGINT NOT NULL,
	knocks_lost   BIGINT NOT NULL DEFAULT 0, -- rows of deploy_knocks that were too many
	knocks_lost_at BIGINT NOT NULL DEFAULT 0 -- the last of them; after a week they count no more
);
CREATE INDEX deploy_tokens_org ON deploy_tokens (org, created_at);

-- One row for each use; never changed. A computer that asks again for the same
-- activation uses nothing up.
CREATE TABLE deploy_uses (
	number     {{serial}},
	token      TEXT NOT NULL REFERENCES deploy_tokens(id) ON DELETE CASCADE,
	request_id TEXT NOT NULL,                -- of the activation, by which its device is found
	ip         TEXT NOT NULL,
	hostname   TEXT NOT NULL,
	os         TEXT NOT NULL,
	how        TEXT NOT NULL,                -- what said whose computer it is: key, map, email
	used_at    BIGINT NOT NULL,
	UNIQUE (token, request_id)
);
CREATE INDEX deploy_uses_token ON deploy_uses (token, number);

-- Computers that showed a good token and were not let in.
CREATE TABLE deploy_knocks (
	token      TEXT NOT NULL REFERENCES deploy_tokens(id) ON DELETE CASCADE,
	machine    TEXT NOT NULL,                -- machine id, or host name when it has none
	hostname   TEXT NOT NULL,
	os         TEXT NOT NULL,
	os_user    TEXT NOT NULL,
	ip         TEXT NOT NULL,
	code       TEXT NOT NULL,                -- why not: an error code, or what of the token did not fit
	times      BIGINT NOT NULL,
	first_at   BIGINT NOT NULL,
	last_at    BIGINT NOT NULL,
	PRIMARY KEY (token, machine, os_user)
);
CREATE INDEX deploy_knocks_last ON deploy_knocks (last_at);
CREATE INDEX deploy_knocks_token ON deploy_knocks (token, last_at, machine, os_user);

-- Which computer is whose, said by an administrator beforehand. A row is
-- deleted when it has been used.
CREATE TABLE device_map (
	number       {{serial}},
	org          TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	user_id      TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	id_type      TEXT NOT NULL,              -- uuid, serial-number, hostname
	id_value     TEXT NOT NULL,              -- folded
	os_user      TEXT NOT NULL,              -- empty: any
	old_device   TEXT NOT NULL,              -- that is replaced, empty: none
	restore      TEXT NOT NULL,              -- ALL, DATA, SYSTEM or nothing
	created_by   TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL             -- 0: without end
);
CREATE INDEX device_map_value ON device_map (org, id_type, id_value);
CREATE INDEX device_map_user ON device_map (user_id);

-- Tokens by which programs use the API, each within what its maker may do.
CREATE TABLE api_tokens (
	id           TEXT PRIMARY KEY,           -- stands in the token
	org          TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	secret       {{blob}} NOT NULL,          -- SHA-256
	name         TEXT NOT NULL,
	scopes       TEXT NOT NULL,              -- with spaces between
	maker        TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	created_at   BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL,
	revoked_at   BIGINT NOT NULL,            -- 0: not
	last_used_at BIGINT NOT NULL,
	last_ip      TEXT NOT NULL
);
CREATE INDEX api_tokens_org ON api_tokens (org, created_at);
CREATE INDEX api_tokens_maker ON api_tokens (maker);

-- What was answered to requests that named themselves, so that one that comes
-- again is answered again and not done again.
CREATE TABLE api_answers (
	token      TEXT NOT NULL REFERENCES api_tokens(id) ON DELETE CASCADE,
	key        {{blob}} NOT NULL,            -- SHA-256 of Idempotency-Key
	request    {{blob}} NOT NULL,            -- SHA-256 of what was asked
	answer     TEXT NOT NULL,                -- JSON
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (token, key)
);
CREATE INDEX api_answers_expires ON api_answers (expires_at);

-- What one administrator asks for and another has to allow. What was asked is
-- never changed; the seal says so.
CREATE TABLE approvals (
	id           TEXT PRIMARY KEY,
	org          TEXT NOT NULL,              -- empty: the server's
	kind         TEXT NOT NULL,
	data         TEXT NOT NULL,              -- JSON, of the feature that does it
	summary      TEXT NOT NULL,              -- JSON of the values of its message
	reason       TEXT NOT NULL,
	seal         {{blob}} NOT NULL,          -- MAC of all of the above and who asked
	state        TEXT NOT NULL,              -- waiting, approved, refused, withdrawn, expired, done, failed
	asked_by     TEXT NOT NULL,
	asked_name   TEXT NOT NULL,
	asked_at     BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL,
	decided_by   TEXT NOT NULL,
	decided_name TEXT NOT NULL,
	decided_at   BIGINT NOT NULL,
	not_before   BIGINT NOT NULL,            -- when an approved act is carried out
	ended_at     BIGINT NOT NULL,            -- done or failed
	failure      TEXT NOT NULL               -- JSON of why it failed
);
CREATE INDEX approvals_state ON approvals (state, asked_at);
CREATE INDEX approvals_org ON approvals (org, asked_at);

-- A security reset: many devices are deactivated, and come back one by one.
CREATE TABLE resets (
	id          TEXT PRIMARY KEY,
	org         TEXT NOT NULL REFERENCES orgs(id) ON DELETE CASCADE,
	name        TEXT NOT NULL,
	reason      TEXT NOT NULL,
	filter      TEXT NOT NULL,               -- JSON of what chose the devices
	distrust    BOOLEAN NOT NULL,            -- old keys do not let a device back by themselves
	batch       BIGINT NOT NULL,             -- devices a minute, 0: all at once
	state       TEXT NOT NULL,               -- waiting, running, paused, revoked, done, cancelled
	approval    TEXT NOT NULL,
	created_by  TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	started_at  BIGINT NOT NULL,
	ended_at    BIGINT NOT NULL,             -- done or cancelled
	letter      TEXT NOT NULL,               -- JSON of what its users are told, empty: nothing yet
	told_by     TEXT NOT NULL,
	reminded_at BIGINT NOT NULL
);
CREATE INDEX resets_org ON resets (org, created_at);
CREATE INDEX resets_state ON resets (state);

-- The devices that a reset is about, as they were when it was asked for.
CREATE TABLE reset_devices (
	reset          TEXT NOT NULL REFERENCES resets(id) ON DELETE CASCADE,
	device         TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
	user_id        TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
	deactivated_at BIGINT NOT NULL,          -- 0: not yet
	mailed         TEXT NOT NULL,            -- the mail that is due to its user: tell, remind; empty: none
	told_at        BIGINT NOT NULL,          -- last mail
	PRIMARY KEY (reset, device)
);
CREATE INDEX reset_devices_device ON reset_devices (device);
CREATE INDEX reset_devices_due ON reset_devices (reset, mailed, user_id);
