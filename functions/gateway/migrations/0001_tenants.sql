-- Who may use the kit, with which keys, and the tasks that are theirs. Times: milliseconds since 1970. Money: nano-dollars.
-- Lists are JSON.

CREATE TABLE tenants (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  models TEXT, -- names that the tenant may use; NULL: all
  concurrency INTEGER, -- requests at once; NULL in a limit: none
  soft_budget INTEGER, -- of a calendar month
  hard_budget INTEGER,
  requests_per_minute INTEGER, -- of a new key that is given none
  tokens_per_minute INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  disabled_at INTEGER
) STRICT;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY, -- the key's visible part
  tenant TEXT NOT NULL REFERENCES tenants (id),
  name TEXT NOT NULL,
  hash BLOB NOT NULL, -- HMAC-SHA-256 of the whole key under KEY_SECRET
  scopes TEXT NOT NULL,
  allowed_origins TEXT NOT NULL,
  requests_per_minute INTEGER,
  tokens_per_minute INTEGER,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  retires_at INTEGER, -- a key that took its place was made, and both work until then
  revoked_at INTEGER,
  replaces TEXT REFERENCES api_keys (id)
) STRICT;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at, id);

-- Every version stays; the newest one counts.
CREATE TABLE tasks (
  tenant TEXT NOT NULL REFERENCES tenants (id),
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  definition TEXT, -- JSON; NULL: deleted
  created_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, name, version)
) STRICT, WITHOUT ROWID;
