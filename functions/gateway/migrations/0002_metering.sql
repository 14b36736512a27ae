-- Metering: the ledger of usage, prices, adapters' days, letters that could not be delivered, Stripe's outbox.
-- Times: milliseconds since 1970. Money: integers, see prices.

-- Only ever added to: one row a request. `seq` grows with arrival, so a reader that goes by it misses nothing.
CREATE TABLE usage_events (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  task TEXT,
  task_version INTEGER,
  model TEXT NOT NULL,
  adapter TEXT,
  input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
  output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
  work_units INTEGER NOT NULL CHECK (work_units >= 0),
  served_by TEXT NOT NULL,
  outcome TEXT NOT NULL,
  at INTEGER NOT NULL CHECK (at >= 0),
  duration_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_events_of_tenant ON usage_events (tenant, seq);

CREATE TRIGGER usage_events_stay BEFORE UPDATE ON usage_events BEGIN
  SELECT RAISE(ABORT, 'usage events are immutable');
END;
CREATE TRIGGER usage_events_remain BEFORE DELETE ON usage_events BEGIN
  SELECT RAISE(ABORT, 'usage events are immutable');
END;

-- Versions of prices; none is changed once it holds. The most specific one that holds at an event's time is its price.
-- '' stands for any. input_per_1k and output_per_1k: micro-dollars per 1,000 tokens, so that tokens × price is
-- nano-dollars exactly; per_request and adapter_day: nano-dollars.
CREATE TABLE prices (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL,
  task TEXT NOT NULL,
  model TEXT NOT NULL,
  valid_from INTEGER NOT NULL,
  input_per_1k INTEGER NOT NULL CHECK (input_per_1k >= 0),
  output_per_1k INTEGER NOT NULL CHECK (output_per_1k >= 0),
  per_request INTEGER NOT NULL CHECK (per_request >= 0),
  adapter_day INTEGER NOT NULL CHECK (adapter_day >= 0),
  created_at INTEGER NOT NULL,
  specificity INTEGER NOT NULL GENERATED ALWAYS AS (
    CASE WHEN task <> '' THEN 4 WHEN tenant <> '' AND model <> '' THEN 3 WHEN tenant <> '' THEN 2 WHEN model <> '' THEN 1 ELSE 0 END
  ) STORED,
  UNIQUE (tenant, task, model, valid_from),
  CHECK (task = '' OR (tenant <> '' AND model = ''))
) STRICT;
CREATE INDEX prices_by_time ON prices (valid_from);
CREATE TRIGGER prices_stay BEFORE UPDATE ON prices BEGIN
  SELECT RAISE(ABORT, 'prices are immutable: add a version');
END;

-- The ledger's sums, kept by the ledger itself: what a bill, a budget and a chart read instead of every event.
-- priced_at: when the newest price version began that held at the events' time, so no price changes inside a row.
CREATE TABLE usage_days (
  tenant TEXT NOT NULL,
  day TEXT NOT NULL,
  priced_at INTEGER NOT NULL,
  key TEXT NOT NULL,
  -- '': requests that name a model
  task TEXT NOT NULL,
  model TEXT NOT NULL,
  requests INTEGER NOT NULL,
  cut_off INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  work_units INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, day, priced_at, key, task, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_days_by_day ON usage_days (day);

CREATE TRIGGER usage_events_counted AFTER INSERT ON usage_events BEGIN
  INSERT INTO usage_days (
    tenant, day, priced_at, key, task, model,
    requests, cut_off, input_tokens, output_tokens, work_units, first_seq, last_seq, last_at
  ) VALUES (
    NEW.tenant,
    date(NEW.at / 1000, 'unixepoch'),
    coalesce((SELECT max(valid_from) FROM prices WHERE valid_from <= NEW.at), 0),
    NEW.key,
    coalesce(NEW.task, ''),
    NEW.model,
    1, NEW.outcome = 'cut_off', NEW.input_tokens, NEW.output_tokens, NEW.work_units, NEW.seq, NEW.seq, NEW.at
  ) ON CONFLICT (tenant, day, priced_at, key, task, model) DO UPDATE SET
    requests = requests + excluded.requests,
    cut_off = cut_off + excluded.cut_off,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    work_units = work_units + excluded.work_units,
    last_seq = excluded.last_seq,
    last_at = max(last_at, excluded.last_at);
END;

-- Every version of every adapter, from when it could be used until it was replaced or deleted: what adapter-days are
-- counted from, so rows stay. `version`: SHA-256 of its files. `model`: the base model.
CREATE TABLE adapters (
  id INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  model TEXT NOT NULL,
  rank INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  replaced_at INTEGER,
  deleted_at INTEGER
) STRICT;
-- One version of a name is in use.
CREATE UNIQUE INDEX adapters_in_use ON adapters (tenant, name) WHERE replaced_at IS NULL AND deleted_at IS NULL;

-- Messages of the usage queue that could not be written, or that no event is. Kept, also when they were replayed.
CREATE TABLE dead_letters (
  -- The event's id, or, where there is none, the message's.
  id TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL,
  replayed_at INTEGER
) STRICT;

-- Whom Stripe bills for a tenant; null: nobody.
ALTER TABLE tenants ADD COLUMN stripe_customer TEXT;

-- Events on their way to Stripe's meters, each put here by the write that put it into the ledger.
CREATE TABLE stripe_outbox (
  seq INTEGER PRIMARY KEY REFERENCES usage_events (seq),
  customer TEXT NOT NULL,
  input_sent_at INTEGER,
  output_sent_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  -- Not before this time.
  next_at INTEGER NOT NULL DEFAULT 0,
  -- Until then somebody is sending it.
  leased_until INTEGER NOT NULL DEFAULT 0,
  last_error TEXT,
  done_at INTEGER
) STRICT;
CREATE INDEX stripe_outbox_pending ON stripe_outbox (next_at) WHERE done_at IS NULL;

CREATE TRIGGER usage_events_to_stripe AFTER INSERT ON usage_events BEGIN
  INSERT INTO stripe_outbox (seq, customer)
  SELECT NEW.seq, stripe_customer FROM tenants WHERE id = NEW.tenant AND stripe_customer IS NOT NULL;
END;
