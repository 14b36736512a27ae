-- Files, and the jobs that an origin runs. Times: milliseconds since 1970.

-- Quotas of a tenant; NULL: the deployment's (vars JOBS_RUNNING, JOBS_WAITING, FILE_BYTES).
ALTER TABLE tenants ADD COLUMN jobs_running INTEGER;
ALTER TABLE tenants ADD COLUMN jobs_waiting INTEGER;
ALTER TABLE tenants ADD COLUMN file_bytes INTEGER;

CREATE TABLE files (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL REFERENCES tenants (id),
  purpose TEXT NOT NULL,
  filename TEXT NOT NULL,
  bytes INTEGER NOT NULL CHECK (bytes >= 0),
  key TEXT NOT NULL, -- where it lies in the bucket
  job TEXT, -- whose result it is
  created_at INTEGER NOT NULL,
  deleted_at INTEGER
) STRICT;
CREATE INDEX files_of_tenant ON files (tenant, created_at, id) WHERE deleted_at IS NULL;

-- `queued` → `running` → `succeeded`, `failed` or `cancelled`. Who runs it has a lease, and the number of the lease
-- (`fence`) goes with all that is written on its behalf: what comes with an older one is refused.
CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL REFERENCES tenants (id),
  key TEXT NOT NULL, -- API key that it was asked for with
  kind TEXT NOT NULL CHECK (kind IN ('batch', 'fine_tuning')),
  status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  priority INTEGER NOT NULL, -- among the tenant's own
  spec TEXT NOT NULL, -- JSON
  created_at INTEGER NOT NULL,
  announced_at INTEGER NOT NULL, -- when an origin was last to be told of it
  started_at INTEGER,
  finished_at INTEGER,
  cancel_requested_at INTEGER,
  lease_owner TEXT,
  lease_until INTEGER NOT NULL DEFAULT 0,
  fence INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0, -- leases since it last came further
  progress TEXT, -- JSON
  result TEXT, -- JSON
  error TEXT -- JSON
) STRICT;
CREATE INDEX jobs_of_tenant ON jobs (tenant, kind, created_at, id);
CREATE INDEX jobs_by_start ON jobs (tenant, started_at);
CREATE INDEX jobs_open ON jobs (tenant, status) WHERE status IN ('queued', 'running');

CREATE TABLE job_files (
  job TEXT NOT NULL REFERENCES jobs (id),
  file TEXT NOT NULL REFERENCES files (id),
  PRIMARY KEY (file, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_events (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  job TEXT NOT NULL REFERENCES jobs (id),
  level TEXT NOT NULL,
  type TEXT NOT NULL,
  message TEXT NOT NULL,
  data TEXT, -- JSON
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX job_events_of_job ON job_events (job, seq);

-- A job goes on from the last one.
CREATE TABLE job_checkpoints (
  job TEXT NOT NULL REFERENCES jobs (id),
  step INTEGER NOT NULL,
  state TEXT NOT NULL, -- JSON
  files TEXT NOT NULL, -- JSON: names in the job's folder
  metrics TEXT, -- JSON; of those that are told
  at INTEGER NOT NULL,
  PRIMARY KEY (job, step)
) STRICT, WITHOUT ROWID;

-- Signatures that were used, as long as they would count.
CREATE TABLE origin_nonces (
  nonce TEXT PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
