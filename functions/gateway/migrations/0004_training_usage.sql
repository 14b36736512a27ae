-- What a fine-tuning trained on, as usage: one event a job, with the job's id, written by the write that ends it.

-- Tokens of inputs and targets, each as often as it was trained on. An event has these or the others.
ALTER TABLE usage_events ADD COLUMN training_tokens INTEGER NOT NULL DEFAULT 0
  CHECK (training_tokens >= 0 AND (training_tokens = 0 OR (input_tokens = 0 AND output_tokens = 0)));

-- Micro-dollars per 1,000 tokens that were trained on.
ALTER TABLE prices ADD COLUMN training_per_1k INTEGER NOT NULL DEFAULT 0 CHECK (training_per_1k >= 0);

ALTER TABLE usage_days ADD COLUMN training_tokens INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER usage_events_counted;
CREATE TRIGGER usage_events_counted AFTER INSERT ON usage_events BEGIN
  INSERT INTO usage_days (
    tenant, day, priced_at, key, task, model,
    requests, cut_off, input_tokens, output_tokens, training_tokens, work_units, first_seq, last_seq, last_at
  ) VALUES (
    NEW.tenant,
    date(NEW.at / 1000, 'unixepoch'),
    coalesce((SELECT max(valid_from) FROM prices WHERE valid_from <= NEW.at), 0),
    NEW.key,
    coalesce(NEW.task, ''),
    NEW.model,
    1, NEW.outcome = 'cut_off', NEW.input_tokens, NEW.output_tokens, NEW.training_tokens, NEW.work_units,
    NEW.seq, NEW.seq, NEW.at
  ) ON CONFLICT (tenant, day, priced_at, key, task, model) DO UPDATE SET
    requests = requests + excluded.requests,
    cut_off = cut_off + excluded.cut_off,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    training_tokens = training_tokens + excluded.training_tokens,
    work_units = work_units + excluded.work_units,
    last_seq = excluded.last_seq,
    last_at = max(last_at, excluded.last_at);
END;
